"""What is known of the cluster around an object. "Not known" is never taken for "there is none"."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies import kuberay
from policies.exposure import is_public
from policies.network_policy import NetworkPolicy
from policies.reading import elements, mapping, text, texts
from policies.selectors import holds
from policies.workload import Workload

_NONE: Mapping[str, Any] = {}
_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class LiveCluster:
    """A RayCluster that exists: its uid, and the labels of the pods of each of its groups."""

    name: str
    uid: str
    pod_labels: tuple[Mapping[str, Any], ...]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveCluster":
        """The view of a RayCluster object."""
        workload = Workload("RayCluster", document)
        uid = text(workload.metadata.get("uid"))
        return cls(workload.name, uid, tuple(kuberay.labels_of_pods(workload)))

    def has_pods_with(self, wanted: Mapping[str, Any]) -> bool:
        """Its pods carry all of these labels, those of one group at least."""
        return any(holds(wanted, labels) for labels in self.pod_labels)


@dataclass(frozen=True, slots=True)
class LiveService:
    """A Service that exists: which pods it leads to, under which ports, and whether from outside.

    `ports` are target ports (or names of them) by number and by name of the Service's own; `external_name` is the
    DNS name an ExternalName Service stands for.
    """

    name: str
    selector: Mapping[str, Any]
    ports: Mapping[int | str, int | str]
    public: bool
    external_name: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "LiveService":
        """The view of a Service object."""
        spec = mapping(document.get("spec"))
        ports: dict[int | str, int | str] = {}
        for _, port in elements(spec.get("ports")):
            number, name, target = port.get("port"), text(port.get("name")), port.get("targetPort")
            if isinstance(number, int):
                reached = target if isinstance(target, int | str) and target else number
                ports[number] = reached
                if name:
                    ports[name] = reached
        name = text(mapping(document.get("metadata")).get("name"))
        external = text(spec.get("externalName")) if spec.get("type") == "ExternalName" else ""
        return cls(name, mapping(spec.get("selector")), ports, is_public(document), external)


@dataclass(frozen=True, slots=True)
class Rights:
    """Who is what, by the cluster's own RBAC.

    `operators`: user names of service accounts that run KubeRay. `admin_users`, `admin_groups`: who may do everything
    everywhere. Where it is not `complete` there may be others.
    """

    operators: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    admin_groups: frozenset[str] = frozenset()
    complete: bool = False

    @classmethod
    def of(cls, roles: Mapping[str, "Role"], bindings: Iterable["Binding"]) -> "Rights":
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
class Role:
    """What a ClusterRole is good for, as far as it matters here."""

    runs_kuberay: bool
    may_do_everything: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Role":
        """The view of a ClusterRole object."""
        rules = [
            tuple({value for _, value in texts(rule.get(part))} for part in ("apiGroups", "resources", "verbs"))
            for _, rule in elements(document.get("rules"))
        ]
        # As KubeRay's own role has it, word by word: `*` is an administrator's, not an operator's.
        status = any(
            "ray.io" in groups and "rayclusters/status" in resources and verbs & {"update", "patch"}
            for groups, resources, verbs in rules
        )
        pods = any("" in groups and "pods" in resources and "create" in verbs for groups, resources, verbs in rules)
        everything = any("*" in groups and "*" in resources and "*" in verbs for groups, resources, verbs in rules)
        return cls(status and pods, everything)


@dataclass(frozen=True, slots=True)
class Binding:
    """A ClusterRoleBinding: who has which ClusterRole."""

    role: str
    users: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "Binding":
        """The view of a ClusterRoleBinding object."""
        users, groups = set[str](), set[str]()
        for _, subject in elements(document.get("subjects")):
            name = text(subject.get("name"))
            match subject.get("kind"):
                case "ServiceAccount":
                    users.add(f"{_SERVICE_ACCOUNT}{text(subject.get('namespace'))}:{name}")
                case "User":
                    users.add(name)
                case "Group":
                    groups.add(name)
        role = mapping(document.get("roleRef"))
        name = text(role.get("name")) if role.get("kind") == "ClusterRole" else ""
        return cls(name, frozenset(users), frozenset(groups))


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """What watch caches know of the namespace an object goes into; None is "not known".

    `metadata` is the Namespace's own; `ray_clusters` and `services` are by name; `public_services` are those among
    them that can be reached from outside; `quotas` names what limits the namespace.
    """

    metadata: Mapping[str, Any] | None = None
    ray_clusters: Mapping[str, LiveCluster] | None = None
    services: Mapping[str, LiveService] | None = None
    public_services: Collection[LiveService] | None = None
    network_policies: Collection[NetworkPolicy] | None = None
    quotas: Collection[str] | None = None
    rights: Rights = field(default_factory=Rights)

    @property
    def labels(self) -> Mapping[str, Any]:
        """The labels of the namespace; empty where nothing is known of it, so that the policy's own profiles hold."""
        return mapping((self.metadata or _NONE).get("labels"))


def namespaces_in_quota(document: Mapping[str, Any]) -> frozenset[str]:
    """The namespaces a quota object is over: its own, or for ACK's ElasticQuotaTree those its leaves name."""
    if document.get("kind") != "ElasticQuotaTree":
        return frozenset({text(mapping(document.get("metadata")).get("namespace"))})
    found, waiting = set[str](), [mapping(mapping(document.get("spec")).get("root"))]
    while waiting:
        part = waiting.pop()
        found |= {name for _, name in texts(part.get("namespaces"))}
        waiting += [child for _, child in elements(part.get("children"))]
    return frozenset(found)
