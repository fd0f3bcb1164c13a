"""Who may run KubeRay and who is an administrator, by ClusterRoles and their bindings."""

from typing import Any

import pytest

from policies.cluster.rbac import RbacBinding, RbacGrants
from policies.cluster.roles import RbacRole

RBAC = "rbac.authorization.k8s.io"
OPERATOR = "system:serviceaccount:kuberay-system:kuberay-operator"


def rule(groups: str, resources: str, verbs: str, **more: Any) -> dict[str, Any]:
    """An RBAC rule; each list is written as words, the core group as `core`."""
    api_groups = [name.replace("core", "") for name in groups.split()]
    return {"apiGroups": api_groups, "resources": resources.split(), "verbs": verbs.split(), **more}


def role(*rules: dict[str, Any]) -> RbacRole:
    return RbacRole.of({"metadata": {"name": "r"}, "rules": list(rules)})


def bound(*subjects: dict[str, Any], kind: str = "ClusterRole", name: str = "r") -> RbacBinding:
    return RbacBinding.of(
        {"roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}, "subjects": list(subjects)}
    )


STATUS = rule("ray.io", "rayclusters/status rayjobs/status", "get patch update")
PODS = rule("core", "pods pods/status", "create delete get list")
EVERYTHING = rule("*", "*", "*")


def test_an_operator_is_a_service_account_that_can_run_kuberay_in_every_namespace() -> None:
    account = {"kind": "ServiceAccount", "name": "kuberay-operator", "namespace": "kuberay-system"}
    rights = RbacGrants.of(
        {"r": role(PODS, STATUS)},
        [bound(account, {"kind": "Group", "name": "g", "apiGroup": RBAC})],
    )
    assert rights == RbacGrants(operators=frozenset({OPERATOR}), complete=True)
    by_name = bound(
        {"kind": "User", "name": OPERATOR, "apiGroup": RBAC}, {"kind": "User", "name": "jane"}
    )
    assert RbacGrants.of({"r": role(PODS, STATUS)}, [by_name]).operators == {OPERATOR}


@pytest.mark.parametrize(
    "other",
    [
        role(PODS),
        role(STATUS),
        role(PODS, rule("ray.io", "rayclusters", "update")),
        role(PODS, rule("ray.io", "rayclusters/status", "get")),
        role(PODS, rule("ray.io", "rayclusters/*", "update")),
        role(PODS, rule("ray.io", "*/status", "update")),
        role(PODS, rule("ray.io", "*", "*")),
        role(PODS, rule("core", "rayclusters/status", "update")),
        role(PODS, {**STATUS, "resourceNames": ["c"]}),
        role({**PODS, "resourceNames": ["c"]}, STATUS),
        role(STATUS, rule("apps", "pods", "create")),
        role(STATUS, rule("core", "pods", "get list")),
        role({"nonResourceURLs": ["*"], "verbs": ["*"]}),
        role(EVERYTHING),
        RbacRole.of({}),
        RbacRole.of({"rules": "x"}),
    ],
)
def test_a_role_with_less_or_more_than_kuberays_is_not_kuberays(other: RbacRole) -> None:
    assert not other.can_run_kuberay


def test_an_administrator_can_do_everything_with_every_object() -> None:
    roles = {"r": role({"nonResourceURLs": ["*"], "verbs": ["*"]}, EVERYTHING)}
    rights = RbacGrants.of(
        roles,
        [bound({"kind": "User", "name": "jane"}, {"kind": "Group", "name": "system:masters"})],
    )
    assert rights.is_admin("jane", ()) and rights.is_admin("x", ["y", "system:masters"])
    assert not rights.is_admin("system:masters", ["jane"]) and rights.operators == frozenset()
    for less in (rule("*", "*", "get"), rule("apps", "*", "*"), rule("*", "pods", "*")):
        assert not role(less).grants_everything
    assert not role({**EVERYTHING, "resourceNames": ["x"]}).grants_everything


def test_a_binding_grants_only_the_cluster_role_that_it_names() -> None:
    jane = {"kind": "User", "name": "jane"}
    roles = {"r": role(EVERYTHING)}
    ineffective = [bound(jane, kind="Role"), bound(jane, name="gone")]
    assert not RbacGrants.of(roles, ineffective).is_admin("jane", ())
    unusual = bound({"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "b"}, {})
    assert RbacGrants.of(roles, [unusual]).admin_users == frozenset()


def test_powers_are_what_leads_to_more_rights() -> None:
    assert role(rule("core", "secrets pods", "get create")).powers == {
        "read Secrets",
        "create pods",
    }
    assert role(rule("* apps", "*", "create")).powers >= {"create pods", "run commands in pods"}
    assert role(EVERYTHING, rule("core", "secrets", "get")).powers == {"do everything"}
    assert role(rule("core", "secrets", "get", resourceNames=["mine"])).powers == frozenset()
    assert role(rule("core", "secrets", "get", resourceNames=["cluster-admin"])).powers == set()
    named = rule(RBAC, "clusterroles", "bind", resourceNames=["cluster-admin"])
    assert role(named).powers == {"grant rights"}


def test_powers_of_all_namespaces_are_known_by_user_and_group() -> None:
    account = {"kind": "ServiceAccount", "name": "ray", "namespace": "team"}
    group = {"kind": "Group", "name": "system:authenticated"}
    roles = {"r": role(rule("core", "secrets", "get")), "s": role(rule("core", "pods", "create"))}
    rights = RbacGrants.of(roles, [bound(account, group), bound(account, name="s")])
    assert rights.powers["system:serviceaccount:team:ray"] == {"read Secrets", "create pods"}
    assert rights.powers["system:authenticated"] == {"read Secrets"}


def test_a_role_is_found_by_the_kind_and_namespace_of_its_binding() -> None:
    metadata = {"name": "b", "namespace": "team"}
    for kind, name in (("Role", "team/r"), ("ClusterRole", "r"), ("Robot", "")):
        document = {"metadata": metadata, "roleRef": {"kind": kind, "name": "r"}}
        assert RbacBinding.of(document).role == RbacBinding.of_accounts(document).role == name
