"""What RayWarden knows of the cluster around an object. "Unknown" is never taken for "none"."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from policies.cluster.endpoints import LiveEndpoints
from policies.cluster.exposure import RAY_PORTS, SERVE_PORTS, is_public
from policies.cluster.quota import LiveQuota
from policies.cluster.rbac import (
    NamespaceRbac,
    Power,
    RbacGrants,
    groups_of,
    namespaces_of,
    user_name,
)
from policies.documents.metadata import name_of
from policies.documents.selectors import has_labels
from policies.documents.untyped import as_dict, as_str, dict_items, larger
from policies.network.isolation import kept_annotations
from policies.network.policy import NetworkPolicy
from policies.network.ray_ports import moved_ports, worker_ports
from policies.network.ray_traffic import ClusterTraffic
from policies.ray.auth import proxies_of
from policies.ray.membership import RAY_CLUSTER_LABEL
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import TLS_LABEL, TLS_MANAGED, Group, Workload

_NONE: Mapping[str, Any] = {}
# Anyone with rights in a namespace can create these objects, and their views stay in memory, so
# each is capped far above real use.
_MAX_GROUPS = 256
_LARGEST_LABELS = 262144
_MAX_LABELS = 64
_MAX_PORTS = 256
# The most objects of a namespace that one request has time to compare.
MAX_COMPARISONS = 20_000
# Ranges, numbers and names of ports in the view of a RayCluster.
_LARGEST_TRAFFIC = 4096
# The names that KubeRay gives to the ports of its head Service.
PORT_NAMES = frozenset({"client", "dashboard", "gcs", "gcs-server", "redis"})


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """A RayCluster that exists.

    `pod_labels`: the labels of the pods of each group. `kuberay_tls`: KubeRay's own mTLS is
    enabled. `ports`: moved ports of Ray, and the names its author gave to Ray's ports.
    `raywarden_tls`: RayWarden gives its pods TLS. `traffic`: what it listens on, and whom it needs.
    `isolation`: its annotations about network isolation. `dashboard_proxies`: what may stand before
    its dashboard.

    A cluster that is `too_large` to read counts as having pods with any labels; only the labels
    that all of its pods share are known, and its `traffic` is None.
    """

    name: str
    uid: str
    pod_labels: tuple[Mapping[str, Any], ...]
    kuberay_tls: bool = False
    ports: frozenset[int | str] = frozenset()
    too_large: bool = False
    raywarden_tls: bool = False
    traffic: ClusterTraffic | None = None
    isolation: Mapping[str, str] = field(default_factory=dict)
    dashboard_proxies: frozenset[str] = frozenset()

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveCluster":
        """The view of a RayCluster object."""
        workload = Workload("RayCluster", document)
        traffic = _traffic_of(workload)
        labels: tuple[Mapping[str, Any], ...] = ({RAY_CLUSTER_LABEL: workload.name},)
        if traffic:
            labels = tuple(group.party.labels for group in traffic.groups)
        return cls(
            name=workload.name,
            uid=as_str(workload.metadata.get("uid")),
            pod_labels=labels,
            kuberay_tls=workload.cluster is not None and workload.cluster.kuberay_tls,
            ports=ports_of(workload),
            too_large=traffic is None,
            raywarden_tls=workload.labels.get(TLS_LABEL) == TLS_MANAGED,
            traffic=traffic,
            isolation=kept_annotations(workload.annotations),
            dashboard_proxies=proxies_of(workload.cluster) if workload.cluster else frozenset(),
        )

    def has_pods_with(self, wanted: Mapping[str, Any]) -> bool:
        """True if the pods of at least one group have all of these labels."""
        return self.too_large or any(has_labels(wanted, labels) for labels in self.pod_labels)


def _traffic_of(workload: Workload) -> ClusterTraffic | None:
    """The traffic of a RayCluster; None if its view would take too much memory."""
    groups = as_dict(workload.document.get("spec")).get("workerGroupSpecs")
    if isinstance(groups, list) and len(groups) >= _MAX_GROUPS:
        return None
    traffic = ClusterTraffic.of(workload)
    labels = [group.party.labels for group in traffic.groups]
    size = sum(group.parts for group in traffic.groups)
    return None if larger(labels, _LARGEST_LABELS) or size > _LARGEST_TRAFFIC else traffic


def _workers_in_place_of_serve(group: Group) -> Iterator[int]:
    """The ports of Ray Serve that parameters of a group give to workers instead."""
    for span in worker_ports(group):
        yield from (port for port in SERVE_PORTS if port in span)


def ports_of(workload: Workload) -> frozenset[int | str]:
    """The ports its author moved away from Ray's defaults, and the names given to Ray's ports."""
    groups = workload.cluster.groups if workload.cluster else ()
    moved = set[int]()
    for group in islice(groups, _MAX_GROUPS):
        moved |= moved_ports(group)
        moved.update(_workers_in_place_of_serve(group))
    names = islice(_port_names(workload, moved.union(RAY_PORTS)), _MAX_PORTS)
    return frozenset(moved.difference(RAY_PORTS)).union(names)


def _port_names(workload: Workload, ports: Collection[int]) -> Iterator[str]:
    """The names of these ports in all containers: a Service finds a name in any of them."""
    options = workload.cluster.options if workload.cluster else ()
    containers = [container for pod in workload.pods for container in pod.containers]
    for container in (*containers, *options):
        for _, port in dict_items(container.raw.get("ports")):
            name, number = as_str(port.get("name")), port.get("containerPort")
            if name and isinstance(number, int) and number in ports:
                yield name


@dataclass(frozen=True, slots=True)
class LiveService:
    """A Service that exists: its pods, its ports, and whether it is exposed.

    `ports`: target ports (numbers or names) by number and by name of the Service's own port. Only
    TCP, because Ray uses nothing else.
    `public`: it can be reached from outside the cluster.
    `external_name`: the DNS name of an ExternalName Service, whose selector has no effect.

    Of a Service that is too large to read, only the first ports and the first labels of the
    selector are known; a selector with fewer labels can only match more pods. It counts as public,
    and as leading to Ray's ports.
    """

    name: str
    selector: Mapping[str, Any]
    ports: Mapping[int | str, int | str]
    public: bool
    external_name: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveService":
        """The view of a Service object."""
        spec = as_dict(document.get("spec"))
        selector, external_name = as_dict(spec.get("selector")), ""
        if spec.get("type") == "ExternalName":
            selector, external_name = {}, as_str(spec.get("externalName")).removesuffix(".")
        ports = _target_ports(spec.get("ports"))
        too_large = len(selector) > _MAX_LABELS or _is_longer(spec.get("ports"), _MAX_PORTS)
        if too_large:
            ports |= {port: port for port in RAY_PORTS}
        return cls(
            name=name_of(document),
            selector=dict(islice(selector.items(), _MAX_LABELS)),
            ports=ports,
            public=too_large or is_public(document),
            external_name=external_name,
        )


def _is_longer(value: Any, limit: int) -> bool:
    return isinstance(value, list) and len(value) > limit


def _target_ports(ports: Any) -> dict[int | str, int | str]:
    """The target of each TCP port, by the port's number and by its name."""
    targets: dict[int | str, int | str] = {}
    for _, port in islice(dict_items(ports), _MAX_PORTS):
        number, name, target = port.get("port"), as_str(port.get("name")), port.get("targetPort")
        if not isinstance(number, int) or port.get("protocol") not in (None, "", "TCP"):
            continue
        # A target of 0 or "" counts as missing, and a missing target is the port's own number.
        reached = target if isinstance(target, int | str) and target else number
        targets[number] = reached
        if name:
            targets[name] = reached
    return targets


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """What RayWarden's caches hold of the namespace of an object; None means "unknown".

    `metadata`: the Namespace's own. `ray_clusters`, `services`: by name. `public_services`: those
    of them that can be reached from outside the cluster. `endpoints`: those that Kubernetes did not
    write for the selector of a Service, by name. `quotas`: those that limit the namespace. `rbac`:
    what holds in all namespaces. `namespace_rbac`: what Roles and RoleBindings add for this one.
    `kuberay`: what the installed KubeRay knows.

    The collections change when the caches change: use them at once, and do not keep them.
    """

    metadata: Mapping[str, Any] | None = None
    ray_clusters: Mapping[str, LiveCluster] | None = None
    services: Mapping[str, LiveService] | None = None
    public_services: Collection[LiveService] | None = None
    endpoints: Mapping[str, LiveEndpoints] | None = None
    network_policies: Collection[NetworkPolicy] | None = None
    quotas: Collection[LiveQuota] | None = None
    rbac: RbacGrants = field(default_factory=RbacGrants)
    namespace_rbac: NamespaceRbac | None = None
    kuberay: KubeRayOperator = field(default_factory=KubeRayOperator)

    @property
    def operator_namespaces(self) -> tuple[str, ...]:
        """The namespaces of the service accounts that run KubeRay everywhere, by RBAC."""
        return tuple(namespaces_of(self.rbac.operators))

    @property
    def labels(self) -> Mapping[str, Any]:
        """The labels of the namespace.

        Empty if the namespace is unknown, so that the policy's own profiles apply.
        """
        return as_dict((self.metadata or _NONE).get("labels"))

    def runs_kuberay(self, user: str) -> bool:
        """True if RBAC allows a service account to run KubeRay here, or in all namespaces."""
        if user in self.rbac.operators:
            return True
        return self.namespace_rbac is not None and self.namespace_rbac.runs_kuberay(user)

    def powers_of(self, namespace: str, account: str) -> frozenset[Power]:
        """What a service account of the namespace may do that leads beyond its own rights."""
        user, groups = user_name(namespace, account), groups_of(namespace)
        everywhere = self.rbac.powers
        powers = {Power(verb_phrase, "") for verb_phrase in everywhere.get(user, ())}
        for group in groups:
            powers.update(Power(phrase, "", group) for phrase in everywhere.get(group, ()))
        if self.namespace_rbac is not None:
            powers.update(self.namespace_rbac.powers_of(user, groups))
        return frozenset(powers)


class RayClusterLookup:
    """The live RayClusters of a namespace, for the questions of one request.

    Each answer is computed once, and all of them together look at a bounded number of pods.
    """

    def __init__(self, namespace_state: NamespaceState) -> None:
        self._clusters = (namespace_state.ray_clusters or {}).values()
        # Without a RayCluster, other software owns these ports.
        self.may_have_clusters = namespace_state.ray_clusters is None or bool(self._clusters)
        self._names: dict[str, str] = {}
        self._remaining = MAX_COMPARISONS

    @cached_property
    def ports(self) -> frozenset[int | str]:
        """Ray's default ports, and the moved ports and port names of the live clusters."""
        defaults: frozenset[int | str] = frozenset(RAY_PORTS)
        # Without a cluster, these names say nothing: other software uses them too.
        names = PORT_NAMES if self._clusters else frozenset[str]()
        moved = (cluster.ports for cluster in self._clusters if cluster.ports)
        return defaults.union(names, *moved)

    def cluster_with(self, wanted: Mapping[str, Any]) -> str:
        """The name of a live RayCluster that has pods with these labels, or an empty string.

        If there are more pods than the request has time to look at, some pod is assumed to match.
        """
        key = repr(sorted(wanted.items(), key=str))
        if key not in self._names:
            self._names[key] = self._search(wanted)
        return self._names[key]

    def _search(self, wanted: Mapping[str, Any]) -> str:
        for cluster in self._clusters:
            self._remaining -= len(cluster.pod_labels) + 1
            if self._remaining < 0 or cluster.has_pods_with(wanted):
                return cluster.name
        return ""
