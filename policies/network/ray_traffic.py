"""What the pods of a RayCluster listen on, and whom they need, in a form that stays in memory.

Ray's own ports run code for those who reach them: GCS, dashboard, Ray Client, agents, and the ports
of raylets and workers, most of which Ray chooses at random. Ray Serve, metrics and the ports of an
author's own containers are for others.
Sources: Ray 2.60 `scripts.py` (`ray start`), `ray_constants.py`; KubeRay 1.7 `utils/constant.go`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from policies.documents.metadata import annotations_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.network.parties import PodParty
from policies.network.ports import PortNames, Ports, merged, missing_from
from policies.network.ray_ports import (
    RANDOM_PORTS,
    head_port,
    moved_port,
    number_of,
    own_ports,
    ports_on,
    span_of,
)
from policies.ray.dashboard_proxy import has_dashboard_proxy
from policies.ray.kuberay import labels_of_pods
from policies.ray.membership import ORIGIN_KIND_LABEL, ORIGIN_NAME_LABEL
from policies.ray.pod import PodRole
from policies.ray.redis import OPTIONS, VARIABLE, ports_outside
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import ClusterSpec, Group, Workload

SERVE_PORT = 8000
# The port on which each node serves its metrics: KubeRay sets `metrics-export-port` to 8080.
METRICS_PORT = 8080
# Where the dashboard and the autoscaler of the head serve their metrics.
HEAD_METRICS: Ports = (range(44217, 44218), range(44227, 44228))
_SUBMISSION_MODE_LABEL = "ray.io/job-submission-mode"
# Linux' default `net.ipv4.ip_local_port_range`.
EPHEMERAL: Ports = (range(32768, 61000),)


@dataclass(frozen=True, slots=True)
class GroupTraffic:
    """What the pods of a group listen on.

    `party`: the pods as NetworkPolicies see them. `own`: Ray's own ports on which they listen, as
    far as they are fixed. `random`: the range from which Linux gives Ray the others. `metrics` and
    `public`: the ports that are for others. The head has HEAD_METRICS besides. `is_scraped`: its
    author expects a Prometheus: a port named `metrics`, or the annotation prometheus.io/scrape.
    """

    title: str
    role: PodRole
    party: PodParty
    own: Ports
    random: Ports
    metrics: Ports
    public: Ports
    is_scraped: bool = False

    @property
    def parts(self) -> int:
        """The number of ranges, numbers and names of ports."""
        ranges = len(self.own) + len(self.random) + len(self.metrics) + len(self.public)
        return ranges + sum(1 + len(numbers) for numbers in (self.party.port_names or {}).values())


@dataclass(frozen=True, slots=True)
class ClusterTraffic:
    """What a RayCluster listens on, and whom it needs.

    `own`: Ray's own ports in any of its pods. `dashboard`: where the head's dashboard listens.
    `origin`: the kind that the RayCluster was created from; empty if it stands alone.
    `takes_submitters`: pods may submit jobs to it. `reaches_api_server`: the autoscaler, Kubernetes
    token authentication or RayWarden's dashboard proxy asks the API server. `redis`: the ports of
    the Redis of GCS.
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


def only(number: int) -> Ports:
    """The set of one port."""
    return (range(number, number + 1),)


def _groups(workload: Workload, groups: Iterable[Group], namespace: str) -> Iterator[GroupTraffic]:
    serve = merged(span_of(number) for number in _serve_ports(workload) if number)
    for group, labels in zip(groups, labels_of_pods(workload), strict=True):
        yield GroupTraffic(
            title=group.title,
            role=group.role,
            party=PodParty(namespace, labels, None, _port_names(group)),
            own=ports_on(group),
            random=_random_ports(group),
            metrics=missing_from(own_ports(group), only(_metrics_port(group))),
            public=_public_ports(group, serve),
            is_scraped=_is_scraped(group),
        )


def _random_ports(group: Group) -> Ports:
    """The range from which Linux gives Ray the ports that it chooses at random; empty if none."""
    chosen = [moved_port(group, parameter) for parameter in RANDOM_PORTS]
    return () if all(chosen) else EPHEMERAL


def _metrics_port(group: Group) -> int:
    return moved_port(group, "metrics-export-port") or METRICS_PORT


def _public_ports(group: Group, serve: Ports) -> Ports:
    """The ports of a group for everyone: Serve, and what containers declare.

    A declared port in the range of random ports can be Ray's, so it does not count.
    """
    declared = [span_of(number) for _, number in _declared(group)]
    ports = missing_from(EPHEMERAL, merged([*serve, *declared]))
    return missing_from(own_ports(group), ports)


def _declared(group: Group) -> Iterator[tuple[str, int]]:
    """The name and number of each TCP port that the containers of a group declare."""
    for container in group.pod.containers:
        for _, entry in dict_items(container.raw.get("ports")):
            number = number_of(entry.get("containerPort"))
            if number and entry.get("protocol") in (None, "", "TCP"):
                yield as_str(entry.get("name")), number


def _is_scraped(group: Group) -> bool:
    annotations = annotations_of(as_dict(group.raw.get("template")))
    if as_str(annotations.get("prometheus.io/scrape")) == "true":
        return True
    return any(name == "metrics" for name, _ in _declared(group))


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
    numbers = [number for number in map(number_of, named) if number]
    return merged(map(span_of, [head_port(head, "dashboard-port"), *numbers]))


def _reaches_api_server(spec: ClusterSpec | None) -> bool:
    if spec is None:
        return False
    return spec.autoscaling or has_dashboard_proxy(spec.head.pod) or spec.kubernetes_tokens


def _redis(workload: Workload, spec: ClusterSpec | None) -> Ports:
    if spec is None:
        return ()
    addresses = [as_str(as_dict(spec.spec.get(OPTIONS)).get("redisAddress"))]
    for container in workload.ray_containers:
        if VARIABLE in container.variables.names:
            addresses += [
                as_str(entry.get("value")) for _, entry in container.variables.of(VARIABLE)
            ]
    return merged(span_of(number) for text in addresses for number in ports_outside(text) if number)


def _serve_ports(workload: Workload) -> Iterator[int]:
    """The ports of Ray Serve: the default, and those that a Serve config names (0: none)."""
    for environment in runtime_environments(workload):
        # The first part is the document itself.
        config = environment.parts[0] if environment.parts else {}
        if environment.field == "serveConfigV2":
            yield number_of(as_dict(config.get("http_options")).get("port"))
            yield number_of(as_dict(config.get("grpc_options")).get("port"))
    yield SERVE_PORT
