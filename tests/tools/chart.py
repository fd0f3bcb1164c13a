"""The generated files of the Helm chart: templates made from `deploy/base` and its components.

A template is the manifest with the edits of `chart_edits`: values in place of fields, and
conditions around what a component adds or takes away. So the manifests have one source, and a
manifest that changes where an edit applies fails here.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.deployed import BASE
from tests.support.paths import DEPLOY, REPOSITORY
from tests.tools import chart_values
from tests.tools.chart_edits import CONDITIONS, EDITS

CHART = DEPLOY / "charts" / "raywarden"
_COMPONENTS = DEPLOY / "components"
# Written by hand, because they differ in form; and Helm creates the namespace itself.
_NOT_COPIED = {"kustomization.yaml", "namespace.yaml", "policy.yaml", "dashboard.json"}
_CLUSTER_KINDS = re.compile(
    r"^kind: (Cluster\w+|PriorityClass|(Mutating|Validating)(Webhook|Admission)\w+)$", re.MULTILINE
)
_METADATA = re.compile(
    r"^metadata:\n  name: (?P<name>\S+)\n(?P<namespace>  namespace: \S+\n)?", re.MULTILINE
)
_LABELS = '{{- include "raywarden.labels" . | nindent 4 }}\n'


def files() -> dict[Path, str]:
    """Every generated file of the chart."""
    copies = {
        "LICENSE": REPOSITORY / "LICENSE",
        "files/policy.yaml": BASE / "policy.yaml",
        "files/dashboard.json": _COMPONENTS / "monitoring" / "dashboard.json",
    }
    return {
        CHART / "values.yaml": chart_values.values(),
        CHART / "values.schema.json": chart_values.schema(),
        **{CHART / name: source.read_text() for name, source in copies.items()},
        **dict(_templates()),
    }


def _templates() -> Iterator[tuple[Path, str]]:
    folders = [DEPLOY / name for name in CONDITIONS if (DEPLOY / name).is_dir()]
    for folder in (BASE, *folders):
        for source in sorted(folder.glob("*.yaml")):
            if source.name not in _NOT_COPIED:
                place = "" if folder == BASE else folder.name
                yield CHART / "templates" / place / source.name, _template(source)


def _template(source: Path) -> str:
    name = str(source.relative_to(DEPLOY))
    text = source.read_text().replace("{{", '{{ "{{" }}')
    text = "---\n".join(map(_own, re.split(r"^---\n", text, flags=re.MULTILINE)))
    text = text.replace("raywarden-system", "{{ .Release.Namespace }}")
    for edit in EDITS.get(name, ()):
        text = edit.applied(text, name)
    header = f"{{{{- /* Generated from deploy/{name} by make docs; edit that file. */}}}}\n"
    condition = CONDITIONS.get(name) or CONDITIONS.get(str(source.parent.relative_to(DEPLOY)))
    if not condition:
        return header + text
    return f"{header}{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"


def _own(document: str) -> str:
    """An object in the namespace and with the labels of the release."""
    is_namespaced = not _CLUSTER_KINDS.search(document)
    place = "  namespace: {{ .Release.Namespace }}\n" if is_namespaced else ""
    document, count = _METADATA.subn(rf"metadata:\n  name: \g<name>\n{place}", document)
    assert count == 1, document
    labels = re.compile(r"^(metadata:\n(?:  \w.*\n)*?)(  labels:\n)?(?=    |\S)", re.MULTILINE)
    return labels.sub(rf"\1  labels:\n    {_LABELS}", document, count=1)
