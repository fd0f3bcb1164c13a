"""`make new-rule ID=no-x`: the files of a new rule, which pass every test as they are.

The rule refuses pods that set `hostAliases`, until its author makes it refuse something else.
"""

import re
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from policies.registry import MUTATIONS, RULES
from tests.support.paths import REPOSITORY

_ID = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
_PROFILES = ("baseline", "restricted")

_RULE = Template('''"""$title."""

from collections.abc import Iterator
from typing import ClassVar

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class $name(Rule):
    """Refuses pods that set `hostAliases`.

    Why: an alias sends traffic for a known name to an address that the author chose.
    Fix: use a Service instead.
    """

    id: ClassVar[str] = "$id"
    profile: ClassVar[Profile] = Profile.$profile
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            if pod.spec.get("hostAliases"):
                place = pod.spec_pointer / "hostAliases"
                message = f"the {pod.title} sets hostAliases"
                yield self.violation(message, place, "remove hostAliases")
''')
_ALLOWED = Template("""base: raycluster
enforce: $profile
""")
_DENIED = Template("""base: raycluster
change:
  /spec/headGroupSpec/template/spec/hostAliases:
    - {ip: 192.0.2.1, hostnames: [models.example]}
enforce: $profile
pointer: /spec/headGroupSpec/template/spec/hostAliases
message: the head sets hostAliases
""")
_REFUSED = """apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: training, namespace: ml-team}
spec:
  rayVersion: 2.60.0
  authOptions: {mode: token}
  headGroupSpec:
    rayStartParams: {}
    template:
      spec:
        serviceAccountName: ray
        hostAliases:
          - ip: 192.0.2.1
            hostnames: [models.example]
        containers:
          - name: ray-head
            image: rayproject/ray:2.60.0
            resources:
              limits: {cpu: '2', memory: 8Gi}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: ray, namespace: ml-team}
spec:
  hard: {requests.cpu: '64', requests.memory: 256Gi, pods: '20'}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: ray, namespace: ml-team}
spec:
  podSelector:
    matchLabels: {ray.io/cluster: training}
  policyTypes: [Ingress]
  ingress:
    - from:
        - podSelector: {}
        - namespaceSelector:
            matchLabels: {kubernetes.io/metadata.name: kuberay-system}
"""
_FIX = "/0/spec/headGroupSpec/template/spec/hostAliases: null\n"


class NewRuleError(Exception):
    """The rule cannot be created; the message says why."""


def create(id: str, profile: str, repository: Path = REPOSITORY) -> list[Path]:
    """Write the files of the rule `id` and list it; gives what was written. Raises NewRuleError."""
    if not _ID.fullmatch(id):
        raise NewRuleError(f"{id!r} is not an id: use words in lower case, such as no-host-aliases")
    if id in {rule.id for rule in RULES} | {mutation.id for mutation in MUTATIONS}:
        raise NewRuleError(f"{id} exists already")
    if profile not in _PROFILES:
        raise NewRuleError(f"{profile!r} is not a profile: use {' or '.join(_PROFILES)}")
    name = "".join(word.capitalize() for word in id.split("-"))
    words = {"id": id, "name": name, "title": id.replace("-", " ").capitalize()}
    examples = repository / "policies" / "examples" / id
    fixtures = repository / "tests" / "fixtures" / "rules" / id
    files = {
        repository / "policies" / "rules" / f"{id.replace('-', '_')}.py": _RULE.substitute(
            words, profile=profile.upper()
        ),
        fixtures / "allowed" / "minimal.yaml": _ALLOWED.substitute(profile=profile),
        fixtures / "denied" / "host-aliases.yaml": _DENIED.substitute(profile=profile),
        examples / "refused.yaml": _REFUSED,
        examples / "fix.yaml": _FIX,
    }
    registry = repository / "policies" / "registry.py"
    files[registry] = _listed(registry.read_text(), id, name, profile)
    for file, content in files.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return list(files)


def _listed(registry: str, id: str, name: str, profile: str) -> str:
    """`registry.py` with the rule imported in its place and listed last in its profile."""
    added = f"from policies.rules.{id.replace('-', '_')} import {name}"
    lines = registry.splitlines()
    imports = [line for line in lines if line.startswith("from policies.rules.")]
    first = lines.index(imports[0])
    lines[first : first + len(imports)] = sorted([*imports, added])
    start = next(
        number for number, line in enumerate(lines) if line.startswith(f"{profile.upper()}:")
    )
    lines.insert(lines.index(")", start), f"    {name},")
    return "\n".join(lines) + "\n"


def main(
    id: Annotated[str, typer.Argument(metavar="ID", help="Such as no-host-aliases.")],
    profile: Annotated[str, typer.Option(help="baseline or restricted.")] = "restricted",
) -> None:
    """Write the files of a new rule."""
    try:
        written = create(id, profile)
    except NewRuleError as error:
        raise SystemExit(f"new-rule: {error}") from None
    for file in written:
        print(file.relative_to(REPOSITORY))
    print("\nNext: edit them, then run `make docs golden` and read what changed.")


if __name__ == "__main__":
    typer.run(main)
