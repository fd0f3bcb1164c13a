"""The examples of the rules: for each rule a manifest that it refuses, and the fix.

`policies/examples/<id>/refused.yaml` is a whole manifest. `fix.yaml` beside it maps JSON pointers
to new values, or to null to remove what is there. The first token of a pointer is the number of the
document. The fixed manifest is derived from the two files.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from itertools import islice
from typing import Any

import yaml

from policies.config import Policy
from policies.documents.untrusted_yaml import load_all
from policies.documents.untyped import as_dict
from webhook import offline
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.manifests.read import Manifest, objects
from webhook.manifests.state import ManifestNamespaces
from webhook.manifests.yaml_dumpers import IndentingDumper
from webhook.settings import Settings, SetupError

_POLICY = "# policy: "
# Wide enough to keep every list and mapping of scalars on one line, so that a diff stays short.
_WIDTH = 1000


@dataclass(frozen=True, slots=True)
class Example:
    """A manifest that an author might write, and the same manifest fixed, both as YAML.

    Both contain everything that the rules must know about the cluster.
    """

    refused: str
    fixed: str

    @classmethod
    def of(cls, rule: str) -> "Example":
        """The example of the rule with this id."""
        folder = files("policies") / "examples" / rule
        try:
            refused = (folder / "refused.yaml").read_text("utf-8")
            fix = (folder / "fix.yaml").read_text("utf-8")
        except FileNotFoundError as error:
            raise SetupError(f"{rule} has no example yet: write {error.filename}") from None
        return cls(refused, _fixed(refused, fix))

    @property
    def policy(self) -> str:
        """The policy file for the example, from the first line of the manifest; usually empty."""
        return _policy_line(self.refused).removeprefix(_POLICY).rstrip()

    def difference(self) -> Iterator[str]:
        """A unified diff from refused to fixed, without the names of the files.

        It compares the documents as the dumper formats them. Comments are not part of it.
        """
        refused, fixed = (
            _dump(list(load_all(manifest))).splitlines() for manifest in (self.refused, self.fixed)
        )
        return islice(difflib.unified_diff(refused, fixed, lineterm=""), 2, None)

    def review(
        self, manifest: str, settings: Settings, *, complete: bool = True
    ) -> list[ReviewedManifest]:
        """The outcome of a review of one of the two manifests, with all rules enforced.

        If `complete` is true, the cluster holds nothing but the manifest; else the rest is unknown.
        """
        manifests = [
            item for item in objects("example", manifest.encode()) if isinstance(item, Manifest)
        ]
        namespaces = ManifestNamespaces((item.document for item in manifests), complete=complete)
        own_policy = as_dict(next(load_all(self.policy), None))
        policy = Policy.parse({"profiles": {"enforce": "restricted"}, **own_policy})
        reviewer = offline.offline_reviewer(settings, policy, namespaces)
        schemas = load_schemas()
        outcomes = [review_manifest(reviewer, item, "default", schemas) for item in manifests]
        return [outcome for outcome in outcomes if outcome]


def _policy_line(manifest: str) -> str:
    """The first line if it names a policy, with its line break."""
    line = manifest.partition("\n")[0]
    return f"{line}\n" if line.startswith(_POLICY) else ""


def _fixed(refused: str, fix: str) -> str:
    documents = list(load_all(refused))
    changes: Mapping[str, Any] = as_dict(next(load_all(fix), None))
    for pointer, value in changes.items():
        _change(documents, pointer, value)
    return _policy_line(refused) + _dump(documents)


def _change(documents: list[Any], pointer: str, value: Any) -> None:
    """Set the value at `pointer`, or remove it if `value` is None."""
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    node: Any = documents
    for token in tokens[:-1]:
        node = node[int(token)] if isinstance(node, list) else node[token]
    key: Any = int(tokens[-1]) if isinstance(node, list) else tokens[-1]
    if value is None:
        del node[key]
    elif isinstance(node, list) and key == len(node):
        node.append(value)
    else:
        node[key] = value


def _dump(documents: list[Any]) -> str:
    return yaml.dump_all(
        documents, Dumper=IndentingDumper, default_flow_style=None, sort_keys=False, width=_WIDTH
    )
