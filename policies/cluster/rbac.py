"""Who may run KubeRay and who is an administrator, by the cluster's RBAC."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items, str_items

_SERVICE_ACCOUNT = "system:serviceaccount:"
# Kubernetes' own ClusterRole to create the two kinds of reviews; manifests do not contain it.
AUTH_DELEGATOR = "system:auth-delegator"
_REVIEWS = (
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
)


@dataclass(frozen=True, slots=True)
class RbacGrants:
    """The users and groups with the rights that matter to RayWarden.

    `operators`: user names of the service accounts that can run KubeRay.
    `admin_users`, `admin_groups`: users and groups that can do everything everywhere.
    `token_reviewers`: users and groups that can ask the API server about tokens of others.
    `complete`: False if RayWarden has not read all of RBAC, so there may be others.
    """

    operators: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    admin_groups: frozenset[str] = frozenset()
    token_reviewers: frozenset[str] = frozenset()
    complete: bool = False

    @classmethod
    def of(cls, roles: Mapping[str, "RbacRole"], bindings: Iterable["RbacBinding"]) -> "RbacGrants":
        """The grants of all ClusterRoles (by name) and ClusterRoleBindings.

        Only cluster-wide objects count, because only administrators write them. Any tenant might
        be able to write a Role or a Deployment in a namespace.
        """
        operators, users, groups = set[str](), set[str](), set[str]()
        reviewers = set[str]()
        for binding in bindings:
            role = roles.get(binding.role)
            if role and role.can_run_kuberay:
                operators |= {user for user in binding.users if user.startswith(_SERVICE_ACCOUNT)}
            if role and role.grants_everything:
                users |= binding.users
                groups |= binding.groups
            if binding.role == AUTH_DELEGATOR or (role and role.reviews_tokens):
                reviewers |= binding.users | binding.groups
        return cls(
            operators=frozenset(operators),
            admin_users=frozenset(users),
            admin_groups=frozenset(groups),
            token_reviewers=frozenset(reviewers),
            complete=True,
        )

    def is_admin(self, user: str, groups: Collection[str]) -> bool:
        return user in self.admin_users or not self.admin_groups.isdisjoint(groups)

    def may_review_tokens(self, namespace: str, service_account: str) -> bool:
        """The service account can create TokenReviews and SubjectAccessReviews."""
        names = (
            f"{_SERVICE_ACCOUNT}{namespace}:{service_account}",
            f"system:serviceaccounts:{namespace}",
            "system:serviceaccounts",
            "system:authenticated",
        )
        return not self.token_reviewers.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class RbacRole:
    """What a ClusterRole grants, as far as it matters to RayWarden."""

    can_run_kuberay: bool
    grants_everything: bool
    reviews_tokens: bool = False

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacRole":
        """The view of a ClusterRole object.

        The API server writes the rules of an aggregated ClusterRole into `rules`, too.
        """
        updates_status = creates_pods = grants_everything = False
        reviews = set[tuple[str, str]]()
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
            if verbs & {"create", "*"}:
                reviews.update(
                    review
                    for review in _REVIEWS
                    if groups & {review[0], "*"} and resources & {review[1], "*"}
                )
        return cls(updates_status and creates_pods, grants_everything, reviews == {*_REVIEWS})


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
