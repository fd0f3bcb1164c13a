"""Parameters of `ray start` are data, not shell, and none of them disarms Ray."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from policies.cluster.state import PORT_PARAMS
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import POD_IP_EXPANSION, TlsBy, tls_by
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import PodRole
from policies.ray.workload import ClusterSpec, Group, Workload

_DISARMS = {
    "system-config": "turns TLS and authentication off inside Ray",
    "redis-password": "shows the password to everyone who can list processes",
    "ray-debugger-external": "opens the debugger to the network",
    "tracing-startup-hook": "runs code when Ray starts",
    "proxy-server-url": "lets another server into the dashboard",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# One word as bash reads it: bare characters that mean themselves, '...' and "..." with nothing expanded inside.
_BARE = r"[A-Za-z0-9_./:=,@%+\[\]-]"
# No backslash but before a quote: KubeRay reads JSON in a value and writes it anew, escapes undone.
_WORD = re.compile(rf"""(?:{_BARE}|'[^'$`\\]*'|"(?:[^"$`\\!]|\\")*")*""")
_SERVICE_NAME = re.compile(r"[a-z0-9.-]*")
_REDIS = ("redisUsername", "redisPassword")
_RESOURCE_NAME = re.compile(r"[^'$`\\\x00-\x1f]*")


# KubeRay reads the JSON in `resources` and writes it anew, in single quotes (`addWellKnownAcceleratorResources`).
_RESOURCE = re.compile(r"[A-Za-z0-9._/:+ -]{1,253}")
_RESOURCES_FIX = "give JSON with names of letters, digits and ._/:+- alone, and a number for each"
_LONGEST = 8192
_PORT = re.compile(r"[0-9]{1,5}")


def _are_resources(value: str) -> bool:
    """JSON with plain names and numbers, in quotes of either kind."""
    if not _WORD.fullmatch(value):
        return False
    try:
        found = orjson.loads(value.strip("'\"").replace('\\"', '"'))
    except orjson.JSONDecodeError:
        return False
    return isinstance(found, dict) and all(
        _RESOURCE.fullmatch(name) and isinstance(amount, int | float)
        for name, amount in found.items()
    )


class SafeRayStartParams(Rule):
    """Refuses values of `rayStartParams` that a shell would act on, and parameters that switch protection off.

    A value must be one word to bash: plain characters, or quoted text without `$` and backquotes. The only expansion
    allowed is RayWarden's own `$(RAYWARDEN_POD_IP)`.
    Why: KubeRay pastes names and values, unquoted, into a bash command line, and Kubernetes expands `$(NAME)` in it
    first, even inside quotes.
    Fix: write the plain value; JSON goes in single quotes, and these in the double ones of YAML.
    """

    id: ClassVar[str] = "safe-ray-start-params"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        ours = tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NOBODY)
        for group in workload.cluster.groups if workload.cluster else ():
            for name, value in group.start_params.items():
                yield from self._check_param(group, name, value)
            if ours:
                yield from self._check_address(group, facts)
            yield from self._check_names(group)
        if workload.cluster:
            yield from self._check_pasted(workload.cluster)
        for container, title in workload.ray_containers:
            for name in ("REDIS_USERNAME", "REDIS_PASSWORD"):
                for index, entry in container.variables.get(name, ()):
                    place = container.pointer / "env" / index / "value"
                    yield from self._check_blanks(
                        f"{name} of {title}", as_str(entry.get("value")), place
                    )

    def _check_param(self, group: Group, name: str, value: Any) -> Iterator[Violation]:
        pointer = group.pointer / "rayStartParams" / name
        harm = _DISARMS.get(name.lower().replace("_", "-"))
        if harm:
            message = f"rayStartParams of the {group.title} set {name}, which {harm}"
            instead = "; use gcsFaultToleranceOptions.redisPassword" if "password" in name else ""
            yield self.violation(message, pointer, f"delete {name}{instead}")
        elif not _NAME.fullmatch(name):
            message = f"rayStartParams of the {group.title} have a name that is no option"
            yield self.violation(
                message,
                pointer,
                "write an option of `ray start` without its dashes, such as num-cpus",
            )
        elif isinstance(value, str) and len(value) > _LONGEST:
            message = f"{name} in rayStartParams of the {group.title} is longer than {_LONGEST} characters"
            yield self.violation(message, pointer, "write less", evidence=str(len(value)))
        elif name in PORT_PARAMS and not _PORT.fullmatch(str(value)):
            message = f"{name} in rayStartParams of the {group.title} is not a plain number"
            yield self.violation(
                message, pointer, "write the number of the port", evidence=str(value)
            )
        elif isinstance(value, str) and name == "resources" and not _are_resources(value):
            message = (
                f"resources in rayStartParams of the {group.title} are not plain names and numbers"
            )
            yield self.violation(message, pointer, _RESOURCES_FIX, evidence=value)
        elif isinstance(value, str) and value != POD_IP_EXPANSION and not _WORD.fullmatch(value):
            message = (
                f"{name} in rayStartParams of the {group.title} is not one plain word to the shell"
            )
            # YAML takes one pair of quotes away, and bash the other.
            json_fix = f'write {name}: "\'{{\\"GPU\\": 4}}\'", quoted twice, with what you mean'
            remediation = (
                json_fix if "{" in value else f'write {name}: "8", or whatever plain value you mean'
            )
            yield self.violation(message, pointer, remediation, evidence=value)

    def _check_address(self, group: Group, facts: Facts) -> Iterator[Violation]:
        address = as_str(group.start_params.get("node-ip-address"))
        service_names = f".{facts.namespace}.svc.{facts.injection.cluster_domain}"
        if address in ("", POD_IP_EXPANSION) or (
            group.role is PodRole.HEAD and address.endswith(service_names)
        ):
            return
        message = f"node-ip-address of the {group.title} is one that no certificate holds"
        pointer = group.pointer / "rayStartParams" / "node-ip-address"
        yield self.violation(
            message, pointer, f"delete node-ip-address; RayWarden writes {POD_IP_EXPANSION}"
        )

    def _check_pasted(self, cluster: ClusterSpec) -> Iterator[Violation]:
        """Other values that KubeRay pastes into the same commands."""
        place = Pointer(("headService", "metadata", "name"))
        name = as_str(place.read(cluster.head.raw))
        if not _SERVICE_NAME.fullmatch(name):
            message = "the name of the head service is not plain text to the shell"
            yield self.violation(
                message,
                Pointer((*cluster.head.pointer, *place)),
                "use a DNS name, such as ray-head",
                evidence=name,
            )
        for field in _REDIS:
            place = Pointer(("gcsFaultToleranceOptions", field, "value"))
            pointer = Pointer((*cluster.pointer, *place))
            yield from self._check_blanks(field, as_str(place.read(cluster.spec)), pointer)

    def _check_blanks(self, title: str, value: str, pointer: Pointer) -> Iterator[Violation]:
        """`--redis-password=$REDIS_PASSWORD` stands there without quotes: bash splits the value into words."""
        if any(character in value for character in " \t\n*?["):
            yield self.violation(
                f"{title} is more than one word to the shell",
                pointer,
                "take blanks, *, ? and [ out",
                evidence=value,
            )

    def _check_names(self, group: Group) -> Iterator[Violation]:
        """Names of resources and labels, which KubeRay turns into parameters too, the former in single quotes."""
        for name in as_dict(group.raw.get("resources")):
            if not _RESOURCE_NAME.fullmatch(name):
                message = f"a resource name of the {group.title} is not plain text to the shell"
                yield self.violation(
                    message,
                    group.pointer / "resources" / name,
                    "use letters, digits, `-`, `_`, `.`, `/`",
                )
        for name, value in as_dict(group.raw.get("labels")).items():
            if not _WORD.fullmatch(f"{name}={value}"):
                message = f"a label of the {group.title} is not one plain word to the shell"
                yield self.violation(
                    message, group.pointer / "labels" / name, "use letters, digits, `-`, `_`, `.`"
                )
