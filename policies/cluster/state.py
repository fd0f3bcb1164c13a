"""What is known of the cluster around an object. "Not known" is never taken for "there is none"."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

from policies.cluster.exposure import RAY_PORTS, is_public
from policies.cluster.network_policy import NetworkPolicy
from policies.cluster.selectors import holds
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.ray.kuberay import labels_of_pods
from policies.ray.workload import RAY_CLUSTER_LABEL, Workload

_NONE: Mapping[str, Any] = {}
_SERVICE_ACCOUNT = "system:serviceaccount:"
# Views are kept in memory, whoever made the objects; in these many groups, labels and ports there is room for any that
# is of use to somebody.
_MOST_GROUPS = 256
_LARGEST_LABELS = 262144
_MOST_LABELS = 64
_MOST_PORTS = 256
# Of what one namespace holds, a request has time to look at so much.
MOST_LOOKED_AT = 20_000
# The parameters of `ray start` that say where RAY_PORTS are.
PORT_PARAMS = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
_PORT = re.compile(r"[0-9]{1,5}")
# As KubeRay calls the ports of its head Service.
_PORT_NAMES = frozenset({"client", "dashboard", "gcs", "gcs-server", "redis"})
# The only one in which ACK's scheduler looks for its ElasticQuotaTree.
_TREE_NAMESPACE = "kube-system"


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """A RayCluster that exists: its uid, the labels of the pods of each of its groups, who is to see to its TLS.

    One `too_large` to look into counts as having pods with whatever labels are asked for; the only ones known are
    those all its pods have.
    """

    name: str
    uid: str
    pod_labels: tuple[Mapping[str, Any], ...]
    kuberay_tls: bool = False
    ports: frozenset[int | str] = frozenset()
    too_large: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveCluster":
        """The view of a RayCluster object."""
        workload = Workload("RayCluster", document)
        name, uid = workload.name, as_str(workload.metadata.get("uid"))
        kuberay = workload.cluster is not None and workload.cluster.kuberay_tls
        ports = frozenset(islice(_ports_of(workload), _MOST_PORTS))
        groups = as_dict(document.get("spec")).get("workerGroupSpecs")
        if isinstance(groups, list) and len(groups) >= _MOST_GROUPS:
            return cls(name, uid, ({RAY_CLUSTER_LABEL: name},), kuberay, ports, too_large=True)
        labels = list(labels_of_pods(workload))
        if larger(labels, _LARGEST_LABELS):
            return cls(name, uid, ({RAY_CLUSTER_LABEL: name},), kuberay, ports, too_large=True)
        return cls(name, uid, tuple(labels), kuberay, ports)

    def has_pods_with(self, wanted: Mapping[str, Any]) -> bool:
        """Its pods carry all of these labels, those of one group at least."""
        return self.too_large or any(holds(wanted, labels) for labels in self.pod_labels)


def _ports_of(workload: Workload) -> Iterator[int | str]:
    """Ports of a cluster's processes that are not where Ray has them by default, and names its author gives them."""
    for group in islice(workload.cluster.groups, _MOST_GROUPS) if workload.cluster else ():
        moved = {
            int(value)
            for name in PORT_PARAMS
            if _PORT.fullmatch(value := str(group.start_params.get(name, "")))
        }
        yield from moved.difference(RAY_PORTS)
        ray = group.pod.ray_container
        for _, port in dict_items(ray.raw.get("ports")) if ray else ():
            if port.get("containerPort") in (*RAY_PORTS, *moved) and (
                name := as_str(port.get("name"))
            ):
                yield name


@dataclass(frozen=True, slots=True)
class LiveService:
    """A Service that exists: which pods it leads to, under which ports, and whether from outside.

    `ports` are target ports (or names of them) by number and by name of the Service's own, those of TCP: Ray speaks
    nothing else. `external_name` is the DNS name an ExternalName Service stands for, which has no selector, whatever
    is written. Of a Service too large to look into the first ports and the first labels of the selector are known,
    which more pods may have than all of them; it counts as public, and as leading to Ray's ports.
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
        name = as_str(as_dict(document.get("metadata")).get("name"))
        selector, listed, external = as_dict(spec.get("selector")), spec.get("ports"), ""
        if spec.get("type") == "ExternalName":
            selector, external = {}, as_str(spec.get("externalName")).removesuffix(".")
        too_large = len(selector) > _MOST_LABELS or (
            isinstance(listed, list) and len(listed) > _MOST_PORTS
        )
        first = dict(islice(selector.items(), _MOST_LABELS))
        ports = _target_ports(listed) | ({one: one for one in RAY_PORTS} if too_large else {})
        return cls(name, first, ports, too_large or is_public(document), external)


def _target_ports(listed: Any) -> dict[int | str, int | str]:
    ports: dict[int | str, int | str] = {}
    for _, port in islice(dict_items(listed), _MOST_PORTS):
        number, name, target = port.get("port"), as_str(port.get("name")), port.get("targetPort")
        if isinstance(number, int) and port.get("protocol") in (None, "", "TCP"):
            # 0 and "" are as good as none.
            reached = target if isinstance(target, int | str) and target else number
            ports[number] = reached
            if name:
                ports[name] = reached
    return ports


@dataclass(frozen=True, slots=True)
class RbacGrants:
    """Who is what, by the cluster's own RBAC.

    `operators`: user names of service accounts that run KubeRay. `admin_users`, `admin_groups`: who may do everything
    everywhere. Where it is not `complete` there may be others.
    """

    operators: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    admin_groups: frozenset[str] = frozenset()
    complete: bool = False

    @classmethod
    def of(cls, roles: Mapping[str, "RbacRole"], bindings: Iterable["RbacBinding"]) -> "RbacGrants":
        """What all ClusterRoles (by name) and ClusterRoleBindings come to.

        Nobody but an administrator writes these, while a Role or a Deployment could be anybody's in a namespace.
        """
        operators, users, groups = set[str](), set[str](), set[str]()
        for binding in bindings:
            role = roles.get(binding.role)
            if role and role.runs_kuberay:
                operators |= {user for user in binding.users if user.startswith(_SERVICE_ACCOUNT)}
            if role and role.may_do_everything:
                users |= binding.users
                groups |= binding.groups
        return cls(frozenset(operators), frozenset(users), frozenset(groups), complete=True)

    def is_admin(self, user: str, groups: Collection[str]) -> bool:
        return user in self.admin_users or not self.admin_groups.isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class RbacRole:
    """What a ClusterRole is good for, as far as it matters here."""

    runs_kuberay: bool
    may_do_everything: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacRole":
        """The view of a ClusterRole object; what an aggregated one comes to is in its rules, too."""
        rules = [
            tuple(
                {value for _, value in str_items(rule.get(part))}
                for part in ("apiGroups", "resources", "verbs")
            )
            for _, rule in dict_items(document.get("rules"))
            # A rule for single objects is neither everything nor what KubeRay needs.
            if not rule.get("resourceNames")
        ]
        # As KubeRay's own role has it, word by word: `*` is an administrator's, not an operator's. RBAC knows no
        # `rayclusters/*`; `*/status` it knows, but KubeRay does not ask for it.
        status = any(
            "ray.io" in groups and "rayclusters/status" in resources and verbs & {"update", "patch"}
            for groups, resources, verbs in rules
        )
        pods = any(
            "" in groups and "pods" in resources and "create" in verbs
            for groups, resources, verbs in rules
        )
        everything = any(
            "*" in groups and "*" in resources and "*" in verbs
            for groups, resources, verbs in rules
        )
        return cls(status and pods, everything)


@dataclass(frozen=True, slots=True)
class RbacBinding:
    """A ClusterRoleBinding: who has which ClusterRole."""

    role: str
    users: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacBinding":
        """The view of a ClusterRoleBinding object."""
        users, groups = set[str](), set[str]()
        for _, subject in dict_items(document.get("subjects")):
            name, namespace = as_str(subject.get("name")), as_str(subject.get("namespace"))
            match subject.get("kind"):
                case "ServiceAccount" if namespace:
                    users.add(f"{_SERVICE_ACCOUNT}{namespace}:{name}")
                case "User":
                    users.add(name)
                case "Group":
                    groups.add(name)
        role = as_dict(document.get("roleRef"))
        name = as_str(role.get("name")) if role.get("kind") == "ClusterRole" else ""
        return cls(name, frozenset(users), frozenset(groups))


@dataclass(frozen=True, slots=True)
class NamespaceState:
    """What watch caches know of the namespace an object goes into; None is "not known".

    `metadata` is the Namespace's own; `ray_clusters` and `services` are by name; `public_services` are those among
    them that can be reached from outside; `quotas` names what limits the namespace. What was handed out changes with
    what is known: use it at once, and do not keep it.
    """

    metadata: Mapping[str, Any] | None = None
    ray_clusters: Mapping[str, LiveCluster] | None = None
    services: Mapping[str, LiveService] | None = None
    public_services: Collection[LiveService] | None = None
    network_policies: Collection[NetworkPolicy] | None = None
    quotas: Collection[str] | None = None
    rights: RbacGrants = field(default_factory=RbacGrants)

    @property
    def labels(self) -> Mapping[str, Any]:
        """The labels of the namespace; empty where nothing is known of it, so that the policy's own profiles hold."""
        return as_dict((self.metadata or _NONE).get("labels"))


class RayClusterLookup:
    """What one request asks of the live RayClusters around it, once for each question, and not without end."""

    def __init__(self, namespace_state: NamespaceState) -> None:
        self._clusters = (namespace_state.ray_clusters or {}).values()
        self._found: dict[str, str] = {}
        self._left = MOST_LOOKED_AT

    @cached_property
    def ports(self) -> frozenset[int | str]:
        """Ray's ports: its own, those that clusters have moved, and beside a cluster the names they go by."""
        own: frozenset[int | str] = frozenset(RAY_PORTS)
        names = _PORT_NAMES if self._clusters else frozenset[str]()
        return own.union(names, *(cluster.ports for cluster in self._clusters if cluster.ports))

    def cluster_with(self, wanted: Mapping[str, Any]) -> str:
        """The name of a live RayCluster with pods that carry these labels; empty where there is none.

        Of more pods than can be looked at in time, some will.
        """
        key = repr(sorted(wanted.items(), key=str))
        if key not in self._found:
            self._found[key] = self._search(wanted)
        return self._found[key]

    def _search(self, wanted: Mapping[str, Any]) -> str:
        for cluster in self._clusters:
            self._left -= len(cluster.pod_labels) + 1
            if self._left < 0 or cluster.has_pods_with(wanted):
                return cluster.name
        return ""


def namespaces_in_quota(document: Mapping[str, Any]) -> frozenset[str]:
    """The namespaces a quota object is over: its own, or for ACK's ElasticQuotaTree those its leaves name.

    A tree outside kube-system is over none, for nobody reads it there.
    """
    namespace = as_str(as_dict(document.get("metadata")).get("namespace"))
    if document.get("kind") != "ElasticQuotaTree":
        return frozenset({namespace})
    if namespace != _TREE_NAMESPACE:
        return frozenset()
    found, waiting = set[str](), [as_dict(as_dict(document.get("spec")).get("root"))]
    while waiting:
        part = waiting.pop()
        children = [child for _, child in dict_items(part.get("children"))]
        waiting += children
        if not children:
            found |= {name for _, name in str_items(part.get("namespaces"))}
    return frozenset(found)
