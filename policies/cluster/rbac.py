"""Who may run KubeRay and who is an administrator, by the cluster's RBAC."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items, str_items

_SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class RbacGrants:
    """The users and groups with the rights that matter to RayWarden.

    `operators`: user names of the service accounts that can run KubeRay.
    `admin_users`, `admin_groups`: users and groups that can do everything everywhere.
    `complete`: False if RayWarden has not read all of RBAC, so there may be others.
    """

    operators: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    admin_groups: frozenset[str] = frozenset()
    complete: bool = False

    @classmethod
    def of(cls, roles: Mapping[str, "RbacRole"], bindings: Iterable["RbacBinding"]) -> "RbacGrants":
        """The grants of all ClusterRoles (by name) and ClusterRoleBindings.

        Only cluster-wide objects count, because only administrators write them. Any tenant might
        be able to write a Role or a Deployment in a namespace.
        """
        operators, users, groups = set[str](), set[str](), set[str]()
        for binding in bindings:
            role = roles.get(binding.role)
            if role and role.can_run_kuberay:
                operators |= {user for user in binding.users if user.startswith(_SERVICE_ACCOUNT)}
            if role and role.grants_everything:
                users |= binding.users
                groups |= binding.groups
        return cls(frozenset(operators), frozenset(users), frozenset(groups), complete=True)

    def is_admin(self, user: str, groups: Collection[str]) -> bool:
        return user in self.admin_users or not self.admin_groups.isdisjoint(groups)


@dataclass(frozen=True, slots=True)
class RbacRole:
    """What a ClusterRole grants, as far as it matters to RayWarden."""

    can_run_kuberay: bool
    grants_everything: bool

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacRole":
        """The view of a ClusterRole object.

        The API server writes the rules of an aggregated ClusterRole into `rules`, too.
        """
        updates_status = creates_pods = grants_everything = False
        for _, rule in dict_items(document.get("rules")):
            # A rule for named objects does not grant everything, and not what KubeRay needs.
            if rule.get("resourceNames"):
                continue
            groups = _strings(rule.get("apiGroups"))
            resources = _strings(rule.get("resources"))
            verbs = _strings(rule.get("verbs"))
            # Exactly as KubeRay's own role has them. A role with `*` is an administrator's, not an
            # operator's. RBAC knows no `rayclusters/*`; it knows `*/status`, but KubeRay's role
            # does not have it.
            if "ray.io" in groups and "rayclusters/status" in resources:
                updates_status |= bool(verbs & {"update", "patch"})
            if "" in groups and "pods" in resources:
                creates_pods |= "create" in verbs
            if "*" in groups and "*" in resources:
                grants_everything |= "*" in verbs
        return cls(updates_status and creates_pods, grants_everything)


@dataclass(frozen=True, slots=True)
class RbacBinding:
    """A ClusterRoleBinding: the users and groups that have a ClusterRole."""

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
        role_name = as_str(role.get("name")) if role.get("kind") == "ClusterRole" else ""
        return cls(role_name, frozenset(users), frozenset(groups))


def _strings(value: Any) -> set[str]:
    return {item for _, item in str_items(value)}
