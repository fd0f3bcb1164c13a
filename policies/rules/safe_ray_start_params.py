"""The parameters of `ray start` are data that no shell interprets, and they weaken nothing."""

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import POD_IP_EXPANSION, TlsBy, tls_by
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.network.ray_ports import PORT_PARAMETERS
from policies.ray.pod import PodRole
from policies.ray.system_config import harmful_settings, unquoted
from policies.ray.workload import ClusterSpec, Group, Workload

# The options of `ray start` (Ray 2.52 to 2.60) that weaken Ray, and what each does.
_HARMFUL = {
    # The file names the Python module of a node provider.
    "autoscaling-config": "loads code into Ray's autoscaler",
    "redis-password": "shows the password to everyone who can list processes",
    "ray-debugger-external": "opens the debugger to the network",
    "tracing-startup-hook": "runs code when Ray starts",
    "proxy-server-url": "connects the dashboard to another server",
}
# The hooks that Ray ships for `tracing-startup-hook` (Ray 2.52 to 2.60, `ray/util/tracing`).
_RAYS_TRACING = frozenset(
    {
        "ray.util.tracing.setup_local_tmp_tracing:setup_tracing",
        "ray.util.tracing.setup_tempo_tracing:setup_tracing",
    }
)
_ADDRESS = "node-ip-address"
_COUNTS = ("num-cpus", "num-gpus")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# One word as bash reads it: characters that mean themselves, '...', and "..." without expansion.
_BARE = r"[A-Za-z0-9_./:=,@%+\[\]-]"
# A backslash is allowed only before a quote: KubeRay parses JSON in a value and writes it again
# without the escapes.
_WORD = re.compile(rf"""(?:{_BARE}|'[^'$`\\]*'|"(?:[^"$`\\!]|\\")*")*""")
# Other names are refused because bash sets some variables itself, such as PWD to a directory that
# the author chooses.
_POD_IP = r"((?:[A-Za-z_]\w*)?POD_IP)"
# `$NAME` and `${NAME}`, which the shell expands, and `$(NAME)`, which Kubernetes does.
_REFERENCE = re.compile(rf"\$(?:{_POD_IP}|\{{{_POD_IP}\}}|\({_POD_IP}\))", re.ASCII)
_SERVICE_NAME = re.compile(r"[a-z0-9.-]*")
_REDIS = ("redisUsername", "redisPassword")
_RESOURCE_NAME = re.compile(r"[^'$`\\\x00-\x1f]*")
# KubeRay parses the JSON in `resources` and writes it again in single quotes
# (`addWellKnownAcceleratorResources`). Kubernetes allows no longer names than 253 characters.
_RESOURCE = re.compile(r"[A-Za-z0-9._/:+ -]{1,253}")
_FIX_RESOURCES = (
    "use JSON whose names contain only letters, digits and ._/:+- and whose values are numbers"
)
# Far above any real value; it bounds the time of the expressions above.
_LONGEST = 8192
# Options of which every plain value is safe.
_ORDINARY = frozenset(
    {"block", "dashboard-host", "memory", "num-cpus", "num-gpus", "object-store-memory"}
)
_PLAIN = re.compile(r"[A-Za-z0-9.:-]{0,100}")
_CREDENTIALS = ("REDIS_USERNAME", "REDIS_PASSWORD")
_PORT = re.compile(r"[0-9]{1,5}")
_PORT_PARAMS = frozenset(PORT_PARAMETERS)


def _plain(name: str, value: str) -> str:
    """What to write instead of a value that a shell would interpret."""
    if name == _ADDRESS:
        return f"remove {_ADDRESS}; Ray then uses the IP of the pod"
    if value.lstrip("'\" ").startswith("{"):
        # YAML removes one pair of quotes, and bash removes the other.
        return f'set {name}: "\'{{\\"GPU\\": 4}}\'", with both pairs of quotes around your own JSON'
    if name in _COUNTS:
        return f'set {name}: "8", or another plain value'
    return "write the value itself, with only letters, digits and ._/:=,@%+-"


def _are_resources(value: str) -> bool:
    """The value is a JSON object of plain names and numbers, in quotes of either kind."""
    if not _WORD.fullmatch(value):
        return False
    try:
        resources = orjson.loads(value.strip("'\"").replace('\\"', '"'))
    except orjson.JSONDecodeError:
        return False
    return isinstance(resources, dict) and all(
        _RESOURCE.fullmatch(name) and isinstance(amount, int | float)
        for name, amount in resources.items()
    )


class SafeRayStartParams(Rule):
    """Refuses `rayStartParams` that a shell would interpret or that turn protection off.

    A value must be a single word to bash: plain characters, or quoted text without `$` and
    backquotes. The only expansion allowed is the pod IP: RayWarden's own `$(RAYWARDEN_POD_IP)`, and
    in `node-ip-address` also a variable such as `$MY_POD_IP` that the container takes from
    `status.podIP`. In `system-config` only the settings that turn a protection off or load code are
    refused.
    Why: KubeRay pastes names and values without quotes into a bash command line. Kubernetes expands
    `$(NAME)` in it first, even inside quotes.
    Fix: set the plain value. Put JSON in single quotes inside the double quotes of YAML.
    """

    id: ClassVar[str] = "safe-ray-start-params"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.cluster:
            is_managed = tls_by(workload) in (TlsBy.RAYWARDEN, TlsBy.NONE)
            for group in workload.cluster.groups:
                yield from self._check_params(group, is_managed, facts)
                yield from self._check_names(group)
            yield from self._check_pasted(workload.cluster)
        if not workload.summary.variables.isdisjoint(_CREDENTIALS):
            yield from self._check_credentials(workload)

    def _check_params(self, group: Group, is_managed: bool, facts: Facts) -> Iterator[Violation]:
        for name, value in group.start_params.items():
            if _is_ordinary(name, value):
                continue
            unsafe = list(self._check_param(group, name, value))
            yield from unsafe
            if name == _ADDRESS and is_managed and not unsafe:
                yield from self._check_address(group, facts)

    def _check_credentials(self, workload: Workload) -> Iterator[Violation]:
        """KubeRay pastes these variables as well."""
        for container in workload.ray_containers:
            for name in _CREDENTIALS:
                for index, entry in container.variables.of(name):
                    place = container.pointer / "env" / index / "value"
                    value = as_str(entry.get("value"))
                    title = f"{name} of {container.title}"
                    yield from self._check_single_word(title, value, place)

    def _check_param(self, group: Group, name: str, value: Any) -> Iterator[Violation]:
        pointer = group.pointer / "rayStartParams" / name
        params = f"rayStartParams of the {group.title}"
        option = name.lower().replace("_", "-")
        harm = _HARMFUL.get(option)
        is_rays_own = option == "tracing-startup-hook" and unquoted(as_str(value)) in _RAYS_TRACING
        if harm and not is_rays_own:
            instead = (
                ", and set gcsFaultToleranceOptions.redisPassword" if "password" in name else ""
            )
            message = f"{params} set {name}, which {harm}"
            yield self.violation(message, pointer, f"remove {name}{instead}")
        elif not _NAME.fullmatch(name):
            message = f"{params} contain a name that is not an option of ray start"
            remediation = "use an option of `ray start` without its dashes, such as num-cpus"
            yield self.violation(message, pointer, remediation)
        elif name != _ADDRESS or not _is_pod_ip(as_str(value), group):
            title = f"{name} in {params}"
            unsafe = list(self._check_value(title, name, value, pointer))
            yield from unsafe
            if option == "system-config" and not unsafe:
                yield from self._check_system_config(title, as_str(value), pointer)

    def _check_system_config(self, title: str, value: str, pointer: Pointer) -> Iterator[Violation]:
        settings = harmful_settings(value)
        if settings is None:
            yield self.violation(
                f"{title} is not a JSON object, so its settings cannot be checked",
                pointer,
                f"use a JSON object in single quotes, or remove {pointer[-1]}",
                evidence=value,
            )
            return
        for name, harm in settings:
            message = f"{title} sets {name}, which {harm}"
            yield self.violation(message, pointer, f"remove {name} from the JSON")

    def _check_value(
        self, title: str, name: str, value: Any, pointer: Pointer
    ) -> Iterator[Violation]:
        is_text = isinstance(value, str)
        if is_text and len(value) > _LONGEST:
            message = f"{title} is longer than {_LONGEST} characters"
            yield self.violation(message, pointer, "shorten the value", evidence=str(len(value)))
        elif name in _PORT_PARAMS and not _PORT.fullmatch(str(value)):
            message = f"{title} is not a plain number"
            remediation = "use a plain port number"
            yield self.violation(message, pointer, remediation, evidence=str(value))
        elif is_text and name == "resources" and not _are_resources(value):
            message = f"{title} is not a JSON object of plain names and numbers"
            yield self.violation(message, pointer, _FIX_RESOURCES, evidence=value)
        elif is_text and value != POD_IP_EXPANSION and not _WORD.fullmatch(value):
            message = f"{title} is not a single plain word to the shell"
            yield self.violation(message, pointer, _plain(name, value), evidence=value)

    def _check_address(self, group: Group, facts: Facts) -> Iterator[Violation]:
        address = as_str(group.start_params.get(_ADDRESS))
        if not address or _is_pod_ip(address, group):
            return
        service_suffix = f".{facts.namespace}.svc.{facts.injection.cluster_domain}"
        if group.role is PodRole.HEAD and address.endswith(service_suffix):
            return
        yield self.violation(
            f"{_ADDRESS} of the {group.title} is not an address in the pod's certificate",
            group.pointer / "rayStartParams" / _ADDRESS,
            f"remove {_ADDRESS}; RayWarden sets it to {POD_IP_EXPANSION}",
        )

    def _check_pasted(self, cluster: ClusterSpec) -> Iterator[Violation]:
        """Other values that KubeRay pastes into the same commands."""
        place = Pointer(("headService", "metadata", "name"))
        name = as_str(place.read(cluster.head.raw))
        if not _SERVICE_NAME.fullmatch(name):
            yield self.violation(
                "the name of the head service is not plain text to the shell",
                Pointer((*cluster.head.pointer, *place)),
                "use a DNS name, such as ray-head",
                evidence=name,
            )
        for field in _REDIS:
            place = Pointer(("gcsFaultToleranceOptions", field, "value"))
            pointer = Pointer((*cluster.pointer, *place))
            yield from self._check_single_word(field, as_str(place.read(cluster.spec)), pointer)

    def _check_single_word(self, title: str, value: str, pointer: Pointer) -> Iterator[Violation]:
        """KubeRay writes `--redis-password=$REDIS_PASSWORD` unquoted, and bash splits the value."""
        if any(character in value for character in " \t\n*?["):
            yield self.violation(
                f"{title} is more than one word to the shell",
                pointer,
                "use a value without blanks, *, ? and [",
                evidence=value,
            )

    def _check_names(self, group: Group) -> Iterator[Violation]:
        """KubeRay also turns names of resources (in single quotes) and labels into parameters."""
        for name in as_dict(group.raw.get("resources")):
            if not _RESOURCE_NAME.fullmatch(name):
                yield self.violation(
                    f"a resource name of the {group.title} is not plain text to the shell",
                    group.pointer / "resources" / name,
                    "use only letters, digits, `-`, `_`, `.` and `/`",
                )
        for name, value in as_dict(group.raw.get("labels")).items():
            if not _WORD.fullmatch(f"{name}={value}"):
                yield self.violation(
                    f"a label of the {group.title} is not a single plain word to the shell",
                    group.pointer / "labels" / name,
                    "use only letters, digits, `-`, `_` and `.`",
                )


def _is_ordinary(name: str, value: Any) -> bool:
    """The parameter needs no closer look; nearly all are like this."""
    if name in _ORDINARY:
        return isinstance(value, str) and _PLAIN.fullmatch(value) is not None
    return name == _ADDRESS and bool(value == POD_IP_EXPANSION)


def _is_pod_ip(address: str, group: Group) -> bool:
    """The address is RayWarden's expansion, or that of a variable that holds the pod IP.

    Older samples of KubeRay set `node-ip-address: $MY_POD_IP`. The variable must come from the
    downward API and be listed once, so that it cannot have another value.
    """
    if address == POD_IP_EXPANSION:
        return True
    reference, ray = _REFERENCE.fullmatch(address), group.pod.ray_container
    if reference is None or ray is None:
        return False
    entries = ray.variables.of(reference[reference.lastindex or 0])
    if len(entries) != 1 or entries[0][1].get("value"):
        return False
    field = as_dict(as_dict(entries[0][1].get("valueFrom")).get("fieldRef"))
    return field.get("fieldPath") == "status.podIP"
