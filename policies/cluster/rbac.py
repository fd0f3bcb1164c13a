"""What RBAC grants, as far as it matters to RayWarden: who runs KubeRay, and who may take over."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from policies.cluster.roles import RbacRole
from policies.documents.metadata import namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items

_SERVICE_ACCOUNT = "system:serviceaccount:"
# The groups of every service account, and of those of a namespace.
ALL_ACCOUNTS = ("system:serviceaccounts", "system:authenticated")
_ACCOUNTS_OF = "system:serviceaccounts:"
# RoleBindings stay in memory, and anyone with rights in a namespace can create some. Real ones have
# a few subjects, and the API server accepts no longer names of service accounts.
_MAX_SUBJECTS = 256
_LONGEST_NAME = 600


class Power(NamedTuple):
    """Something that an account may do.

    `verb_phrase` says what; `namespace` says where, and is empty for all namespaces. `group` is the
    group whose members may do it; empty if the account itself may.
    """

    verb_phrase: str
    namespace: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class RbacGrants:
    """The users and groups with cluster-wide rights that matter to RayWarden.

    `operators`: user names of the service accounts that can run KubeRay in all namespaces.
    `admin_users`, `admin_groups`: users and groups that can do everything everywhere.
    `powers`: what users and groups may do in all namespaces, by their names.
    `token_reviewers`: users and groups that can ask the API server about tokens of others.
    `complete`: False if RayWarden has not read all of RBAC, so there may be others.
    """

    operators: frozenset[str] = frozenset()
    admin_users: frozenset[str] = frozenset()
    admin_groups: frozenset[str] = frozenset()
    token_reviewers: frozenset[str] = frozenset()
    complete: bool = False
    powers: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, roles: Mapping[str, RbacRole], bindings: Iterable["RbacBinding"]) -> "RbacGrants":
        """The grants of all ClusterRoles (by name) and ClusterRoleBindings.

        Only administrators write these. `NamespaceRbac` is about Roles and RoleBindings, which
        tenants may be able to write.
        """
        operators, users, groups = set[str](), set[str](), set[str]()
        powers: dict[str, frozenset[str]] = {}
        reviewers = set[str]()
        for binding in bindings:
            role = roles.get(binding.role)
            if role is None:
                continue
            if role.can_run_kuberay:
                operators |= {user for user in binding.users if user.startswith(_SERVICE_ACCOUNT)}
            if role.grants_everything:
                users |= binding.users
                groups |= binding.groups
            if role.reviews_tokens:
                reviewers |= binding.users | binding.groups
            if role.powers:
                for name in binding.users | binding.groups:
                    powers[name] = powers.get(name, frozenset()) | role.powers
        return cls(
            operators=frozenset(operators),
            admin_users=frozenset(users),
            admin_groups=frozenset(groups),
            token_reviewers=frozenset(reviewers),
            complete=True,
            powers=powers,
        )

    def is_admin(self, user: str, groups: Collection[str]) -> bool:
        return user in self.admin_users or not self.admin_groups.isdisjoint(groups)

    def may_review_tokens(self, namespace: str, service_account: str) -> bool:
        """The service account can create TokenReviews and SubjectAccessReviews."""
        names = (user_name(namespace, service_account), *groups_of(namespace))
        return not self.token_reviewers.isdisjoint(names)


@dataclass(frozen=True, slots=True)
class RbacBinding:
    """A ClusterRoleBinding or RoleBinding: the users and groups that have a role.

    `role` is the name of a ClusterRole, or `namespace/name` of a Role; empty for anything else.
    `namespace` is where a RoleBinding grants the role; empty for a ClusterRoleBinding.
    """

    role: str
    users: frozenset[str]
    groups: frozenset[str]
    namespace: str = ""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "RbacBinding":
        """The view of a ClusterRoleBinding or RoleBinding object."""
        users, groups = set[str](), set[str]()
        for _, subject in dict_items(document.get("subjects")):
            name, namespace = as_str(subject.get("name")), as_str(subject.get("namespace"))
            match subject.get("kind"):
                case "ServiceAccount" if namespace:
                    users.add(user_name(namespace, name))
                case "User":
                    users.add(name)
                case "Group":
                    groups.add(name)
        namespace, reference = namespace_of(document), as_dict(document.get("roleRef"))
        role = as_str(reference.get("name"))
        if reference.get("kind") == "Role" and namespace:
            role = f"{namespace}/{role}"
        elif reference.get("kind") != "ClusterRole":
            role = ""
        return cls(role, frozenset(users), frozenset(groups), namespace)

    @classmethod
    def of_accounts(cls, document: Mapping[str, Any]) -> "RbacBinding":
        """The same, with service accounts and their groups only: all that a Ray pod can be.

        More than 256 subjects are not read.
        """
        read = islice(dict_items(document.get("subjects")), _MAX_SUBJECTS)
        binding = cls.of({**document, "subjects": [subject for _, subject in read]})
        users = filter(_is_account, binding.users)
        groups = filter(_is_group_of_accounts, binding.groups)
        return cls(binding.role, frozenset(users), frozenset(groups), binding.namespace)

    @property
    def account_namespaces(self) -> frozenset[str]:
        """The namespaces of its service accounts; the empty string stands for all of them."""
        names = self.users | self.groups
        return frozenset(name.split(":")[2] if name.count(":") > 1 else "" for name in names)


@dataclass(frozen=True, slots=True)
class NamespaceRbac:
    """What Roles and RoleBindings mean for a namespace.

    `role_named` finds the role of a binding. `inside`: the RoleBindings in the namespace. `about`:
    those of any namespace that name its service accounts, and maybe others, in parts.
    The answers are computed when a rule asks, because tenants can change these objects often.
    """

    role_named: Callable[[str], RbacRole | None]
    inside: Collection[RbacBinding]
    about: tuple[Collection[RbacBinding], ...]

    def runs_kuberay(self, user: str) -> bool:
        """True if RoleBindings allow a service account to run KubeRay in this namespace."""
        return any(
            user in binding.users and _can_run_kuberay(self.role_named(binding.role))
            for binding in self.inside
        )

    def powers_of(self, user: str, groups: Collection[str]) -> Iterator[Power]:
        """What RoleBindings let this user do, or the members of these groups, in any namespace."""
        for part in self.about:
            for binding in part:
                if user not in binding.users and binding.groups.isdisjoint(groups):
                    continue
                role = self.role_named(binding.role)
                holder = "" if user in binding.users else min(binding.groups.intersection(groups))
                for verb_phrase in role.powers if role else ():
                    yield Power(verb_phrase, binding.namespace, holder)


def operators_of_namespaces(
    roles: Mapping[str, RbacRole], bindings: Iterable[RbacBinding]
) -> dict[str, set[str]]:
    """The service accounts that RoleBindings allow to run KubeRay, each with its namespaces.

    `roles`: ClusterRoles by name, and Roles by `namespace/name`.
    """
    operators: dict[str, set[str]] = {}
    for binding in bindings:
        if _can_run_kuberay(roles.get(binding.role)):
            for user in binding.users:
                operators.setdefault(user, set()).add(binding.namespace)
    return operators


def user_name(namespace: str, account: str) -> str:
    """The user name of a service account."""
    return f"{_SERVICE_ACCOUNT}{namespace}:{account}"


def namespaces_of(users: Iterable[str]) -> list[str]:
    """The namespaces of those users that are service accounts, in order."""
    accounts = (user.split(":") for user in users if user.startswith(_SERVICE_ACCOUNT))
    return sorted({account[2] for account in accounts if len(account) == 4})


def groups_of(namespace: str) -> tuple[str, ...]:
    """The groups of the service accounts of a namespace."""
    return (f"{_ACCOUNTS_OF}{namespace}", *ALL_ACCOUNTS)


def _can_run_kuberay(role: RbacRole | None) -> bool:
    return role is not None and role.can_run_kuberay


def _is_account(user: str) -> bool:
    return user.startswith(_SERVICE_ACCOUNT) and len(user) <= _LONGEST_NAME


def _is_group_of_accounts(group: str) -> bool:
    is_known = group in ALL_ACCOUNTS or group.startswith(_ACCOUNTS_OF)
    return is_known and len(group) <= _LONGEST_NAME
