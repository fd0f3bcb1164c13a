"""What the pods of a RayCluster listen on, and whom they need, in a form that stays in memory.

Ray's own ports run code for those who reach them: GCS, dashboard, Ray Client, agents, and the ports
of raylets and workers, most of which Ray chooses at random. Ray Serve, metrics and the ports of an
author's own containers are for others.
Sources: Ray 2.60 `scripts.py` (`ray start`), `ray_constants.py`; KubeRay 1.7 `utils/constant.go`.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from policies.network.parties import PodParty
from policies.network.ports import PortNames, Ports, merged, missing_from
from policies.ray.kuberay import labels_of_pods
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.pod import PodRole
from policies.ray.redis import OPTIONS, VARIABLE, ports_outside
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import ClusterSpec, Group, Workload

DASHBOARD_PORT = 8265
SERVE_PORT = 8000
# The port on which each node serves its metrics: KubeRay sets `metrics-export-port` to 8080.
METRICS_PORT = 8080
# Where the dashboard and the autoscaler of the head serve their metrics.
HEAD_METRICS: Ports = (range(44217, 44218), range(44227, 44228))
ORIGIN_NAME_LABEL = "ray.io/originated-from-cr-name"
_SUBMISSION_MODE_LABEL = "ray.io/job-submission-mode"
_DEFAULTS = {
    "port": 6379,
    "dashboard-port": DASHBOARD_PORT,
    "ray-client-server-port": 10001,
    "dashboard-agent-listen-port": 52365,
}
# Those that a worker has, too.
_EVERYWHERE = ("dashboard-agent-listen-port",)
# Ray chooses these at random unless the cluster sets them.
_RANDOM = (
    "dashboard-agent-grpc-port",
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
)
_WORKER_PORTS = range(10002, 20000)
# Linux' default `net.ipv4.ip_local_port_range`.
EPHEMERAL: Ports = (range(32768, 61000),)
_PORT = re.compile(r"[0-9]{1,5}")


@dataclass(frozen=True, slots=True)
class GroupTraffic:
    """What the pods of a group listen on.

    `party`: the pods as NetworkPolicies see them. `own`: Ray's own ports on which they listen, as
    far as they are fixed. `random`: the range from which Linux gives Ray the others. `metrics` and
    `public`: the ports that are for others. The head has HEAD_METRICS besides.
    """

    title: str
    role: PodRole
    party: PodParty
    own: Ports
    random: Ports
    metrics: Ports
    public: Ports


@dataclass(frozen=True, slots=True)
class ClusterTraffic:
    """What a RayCluster listens on, and whom it needs.

    `own`: Ray's own ports in any of its pods. `dashboard`: where the head's dashboard listens.
    `origin`: the kind that the RayCluster was created from; empty if it stands alone.
    `takes_submitters`: pods may submit jobs to it. `reaches_api_server`: the autoscaler, or
    Kubernetes token authentication, asks the API server. `redis`: the ports of the Redis of GCS.
    """

    name: str
    namespace: str
    groups: Sequence[GroupTraffic]
    own: Ports
    dashboard: Ports
    origin: str
    origin_name: str
    takes_submitters: bool
    reaches_api_server: bool
    redis: Ports

    @classmethod
    def of(cls, workload: Workload) -> "ClusterTraffic":
        """The view of a RayCluster."""
        namespace = as_str(workload.metadata.get("namespace"))
        spec, labels = workload.cluster, workload.labels
        groups = spec.groups if spec else ()
        return cls(
            name=workload.name,
            namespace=namespace,
            groups=tuple(_groups(workload, groups, namespace)),
            own=merged(span for group in groups for span in own_ports(group)),
            dashboard=_dashboard(spec.head) if spec else (),
            origin=as_str(labels.get(ORIGIN_KIND_LABEL)),
            origin_name=as_str(labels.get(ORIGIN_NAME_LABEL)),
            takes_submitters=as_str(labels.get(_SUBMISSION_MODE_LABEL)) in ("", "K8sJobMode"),
            reaches_api_server=_reaches_api_server(spec),
            redis=_redis(workload, spec),
        )

    @property
    def head(self) -> GroupTraffic | None:
        """The head group, which is the first; None for a RayCluster without a spec."""
        return self.groups[0] if self.groups else None


def head_port(group: Group, parameter: str) -> int:
    """The port of the head that `ray start --PARAMETER` moves, or Ray's default."""
    return _number(group.start_params.get(parameter)) or _DEFAULTS[parameter]


def own_ports(group: Group) -> Ports:
    """The ports of Ray itself in any pod of the cluster that this group configures."""
    return _ports(group, _DEFAULTS)


def port(number: int) -> Ports:
    """The set of one port."""
    return (range(number, number + 1),)


def _groups(workload: Workload, groups: Iterable[Group], namespace: str) -> Iterator[GroupTraffic]:
    serve = merged(_span(number) for number in _serve_ports(workload) if number)
    for group, labels in zip(groups, labels_of_pods(workload), strict=True):
        yield GroupTraffic(
            title=group.title,
            role=group.role,
            party=PodParty(namespace, labels, None, _port_names(group)),
            own=_ports(group, _DEFAULTS if group.role is PodRole.HEAD else _EVERYWHERE),
            random=_random_ports(group),
            metrics=missing_from(own_ports(group), port(_metrics_port(group))),
            public=_public_ports(group, serve),
        )


def _ports(group: Group, parameters: Iterable[str]) -> Ports:
    ports = [_span(head_port(group, parameter)) for parameter in parameters]
    for parameter in _RANDOM:
        number = _number(group.start_params.get(parameter))
        if number:
            ports.append(_span(number))
    first = _number(group.start_params.get("min-worker-port")) or _WORKER_PORTS.start
    last = _number(group.start_params.get("max-worker-port")) or _WORKER_PORTS.stop - 1
    return merged([*ports, range(first, last + 1)])


def _random_ports(group: Group) -> Ports:
    """The range from which Linux gives Ray the ports that it chooses at random; empty if none."""
    chosen = [_number(group.start_params.get(parameter)) for parameter in _RANDOM]
    return () if all(chosen) else EPHEMERAL


def _metrics_port(group: Group) -> int:
    return _number(group.start_params.get("metrics-export-port")) or METRICS_PORT


def _public_ports(group: Group, serve: Ports) -> Ports:
    """The ports of a group for everyone: Serve, and what containers declare.

    A declared port in the range of random ports can be Ray's, so it does not count.
    """
    declared = [_span(number) for _, number in _declared(group)]
    ports = missing_from(EPHEMERAL, merged([*serve, *declared]))
    return missing_from(own_ports(group), ports)


def _declared(group: Group) -> Iterator[tuple[str, int]]:
    """The name and number of each TCP port that the containers of a group declare."""
    for container in group.pod.containers:
        for _, entry in dict_items(container.raw.get("ports")):
            number = _number(entry.get("containerPort"))
            if number and entry.get("protocol") in (None, "", "TCP"):
                yield as_str(entry.get("name")), number


def _port_names(group: Group) -> PortNames:
    names: dict[str, list[int]] = {}
    for name, number in _declared(group):
        if name:
            names.setdefault(name, []).append(number)
    return names


def _dashboard(head: Group) -> Ports:
    """Where KubeRay looks for the dashboard: the parameter, or the port of that name."""
    ray = head.pod.ray_container
    entries = dict_items(ray.raw.get("ports") if ray else None)
    named = [entry.get("containerPort") for _, entry in entries if entry.get("name") == "dashboard"]
    numbers = [number for number in map(_number, named) if number]
    return merged(map(_span, [head_port(head, "dashboard-port"), *numbers]))


def _reaches_api_server(spec: ClusterSpec | None) -> bool:
    if spec is None:
        return False
    return (
        spec.autoscaling or as_dict(spec.spec.get("authOptions")).get("enableK8sTokenAuth") is True
    )


def _redis(workload: Workload, spec: ClusterSpec | None) -> Ports:
    if spec is None:
        return ()
    addresses = [as_str(as_dict(spec.spec.get(OPTIONS)).get("redisAddress"))]
    for container, _ in workload.ray_containers:
        if VARIABLE in container.variable_names:
            addresses += [as_str(entry.get("value")) for _, entry in container.variables[VARIABLE]]
    return merged(_span(number) for text in addresses for number in ports_outside(text) if number)


def _serve_ports(workload: Workload) -> Iterator[int]:
    """The ports of Ray Serve: the default, and those that a Serve config names (0: none)."""
    for environment in runtime_environments(workload):
        # The first part is the document itself.
        config = environment.parts[0] if environment.parts else {}
        if environment.field == "serveConfigV2":
            yield _number(as_dict(config.get("http_options")).get("port"))
            yield _number(as_dict(config.get("grpc_options")).get("port"))
    yield SERVE_PORT


def _span(number: int) -> range:
    return range(number, number + 1)


def _number(value: Any) -> int:
    """A port as a number or a text; 0 if `value` is not a port."""
    text = str(value) if isinstance(value, int | str) else ""
    number = int(text) if _PORT.fullmatch(text) else 0
    return number if number < 65536 else 0
