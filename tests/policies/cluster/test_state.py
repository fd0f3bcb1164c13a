"""What is made of the objects around Ray, and what of those that are too large to be kept."""

from typing import Any

import pytest

from policies.cluster.exposure import RAY_PORTS
from policies.cluster.state import (
    LiveCluster,
    LiveService,
    NamespaceState,
    RbacBinding,
    RbacGrants,
    RbacRole,
    namespaces_in_quota,
)

RBAC = "rbac.authorization.k8s.io"
OPERATOR = "system:serviceaccount:kuberay-system:kuberay-operator"


def service(spec: dict[str, Any], name: str = "s") -> LiveService:
    return LiveService.of({"metadata": {"name": name}, "spec": spec})


def ray_cluster(*groups: Any, **head: Any) -> LiveCluster:
    spec = {"headGroupSpec": head, "workerGroupSpecs": list(groups)}
    return LiveCluster.of({"metadata": {"name": "c", "uid": "uid-1"}, "spec": spec})


def group(name: str, **labels: str) -> dict[str, Any]:
    return {"groupName": name, "template": {"metadata": {"labels": labels}}}


def rule(groups: str, resources: str, verbs: str, **more: Any) -> dict[str, Any]:
    """A rule of RBAC; its lists as words, the core group as `core`."""
    named = [name.replace("core", "") for name in groups.split()]
    return {"apiGroups": named, "resources": resources.split(), "verbs": verbs.split(), **more}


def role(*rules: dict[str, Any]) -> RbacRole:
    return RbacRole.of({"metadata": {"name": "r"}, "rules": list(rules)})


def bound(*subjects: dict[str, Any], kind: str = "ClusterRole", name: str = "r") -> RbacBinding:
    return RbacBinding.of(
        {"roleRef": {"apiGroup": RBAC, "kind": kind, "name": name}, "subjects": list(subjects)}
    )


STATUS = rule("ray.io", "rayclusters/status rayjobs/status", "get patch update")
PODS = rule("core", "pods pods/status", "create delete get list")
EVERYTHING = rule("*", "*", "*")


def test_a_cluster_has_the_pods_of_each_of_its_groups() -> None:
    made = ray_cluster(group("gpu", team="a"), group("cpu"))
    assert (made.name, made.uid, len(made.pod_labels)) == ("c", "uid-1", 3)
    assert made.has_pods_with({"ray.io/cluster": "c", "ray.io/node-type": "head"})
    assert made.has_pods_with({"team": "a", "ray.io/group": "gpu"})
    assert not made.has_pods_with({"team": "a", "ray.io/group": "cpu"})
    assert not made.has_pods_with({"ray.io/cluster": "d"}) and not made.has_pods_with(
        {"team": None}
    )


@pytest.mark.parametrize(
    "made",
    [ray_cluster(*[group("g")] * 10_000), ray_cluster(group("g", **{"a" * 300_000: "b"}))],
    ids=["groups", "labels"],
)
def test_a_cluster_too_large_to_look_into_may_have_any_pods(made: LiveCluster) -> None:
    assert made.too_large and made.pod_labels == ({"ray.io/cluster": "c"},)
    assert made.has_pods_with({"team": "a"})


def test_a_service_leads_to_the_port_itself_unless_it_says_otherwise() -> None:
    listed = [
        {"port": 80, "targetPort": 8265, "name": "dashboard"},
        {"port": 6379},
        {"port": 10001, "targetPort": 0},
        {"port": 8000, "targetPort": "serve", "protocol": "TCP"},
        {"port": 6379, "targetPort": 53, "protocol": "UDP", "name": "dns"},
    ]
    assert service({"ports": listed}).ports == {
        80: 8265,
        "dashboard": 8265,
        6379: 6379,
        10001: 10001,
        8000: "serve",
    }


def test_a_name_for_somewhere_else_has_no_pods() -> None:
    made = service(
        {
            "type": "ExternalName",
            "externalName": "c-head-svc.ray.svc.cluster.local.",
            "selector": {"a": "b"},
        }
    )
    assert (made.selector, made.external_name, made.public) == (
        {},
        "c-head-svc.ray.svc.cluster.local",
        False,
    )
    assert service({"externalName": "example.com", "selector": {"a": "b"}}).external_name == ""


@pytest.mark.parametrize(
    "spec",
    [
        {"ports": [{"port": 1 + index} for index in range(10_000)]},
        {"selector": {f"a{n}": "b" for n in range(10_000)}},
    ],
    ids=["ports", "selector"],
)
def test_a_service_too_large_to_look_into_is_public(spec: dict[str, Any]) -> None:
    made = service(spec)
    assert made.public and len(made.ports) <= 256 + len(RAY_PORTS)
    assert all(made.ports[one] == one for one in RAY_PORTS)
    assert spec.get("selector", {}).items() >= made.selector.items() and len(made.selector) <= 64


def test_kuberays_operator_is_who_may_do_its_work_everywhere() -> None:
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
    "made",
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
def test_less_than_kuberays_role_and_more_is_another(made: RbacRole) -> None:
    assert not made.runs_kuberay


def test_an_admin_may_do_everything_with_everything() -> None:
    roles = {"r": role({"nonResourceURLs": ["*"], "verbs": ["*"]}, EVERYTHING)}
    rights = RbacGrants.of(
        roles,
        [bound({"kind": "User", "name": "jane"}, {"kind": "Group", "name": "system:masters"})],
    )
    assert rights.is_admin("jane", ()) and rights.is_admin("x", ["y", "system:masters"])
    assert not rights.is_admin("system:masters", ["jane"]) and rights.operators == frozenset()
    for less in (rule("*", "*", "get"), rule("apps", "*", "*"), rule("*", "pods", "*")):
        assert not role(less).may_do_everything
    assert not role({**EVERYTHING, "resourceNames": ["x"]}).may_do_everything


def test_a_binding_counts_with_the_role_it_names() -> None:
    jane = {"kind": "User", "name": "jane"}
    roles = {"r": role(EVERYTHING)}
    assert not RbacGrants.of(roles, [bound(jane, kind="Role"), bound(jane, name="gone")]).is_admin(
        "jane", ()
    )
    strange = bound({"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "b"}, {})
    assert RbacGrants.of(roles, [strange]).admin_users == frozenset()


def tree(namespace: str, **root: Any) -> frozenset[str]:
    metadata = {"name": "t", "namespace": namespace}
    return namespaces_in_quota(
        {"kind": "ElasticQuotaTree", "metadata": metadata, "spec": {"root": root}}
    )


def test_a_quota_is_over_its_own_namespace_and_a_tree_over_those_of_its_leaves() -> None:
    for kind in ("ResourceQuota", "ElasticQuota", ""):
        assert namespaces_in_quota({"kind": kind, "metadata": {"namespace": "ray"}}) == {"ray"}
    leaves = [
        {"namespaces": ["a", "b"]},
        {"children": [{"namespaces": ["c", 7]}], "namespaces": ["not a leaf"]},
    ]
    assert tree("kube-system", children=leaves) == {"a", "b", "c"}
    assert tree("kube-system") == frozenset()
    assert tree("a", namespaces=["a"]) == frozenset(), "nobody reads it there"


def test_nothing_is_known_until_somebody_says_so() -> None:
    unknown = NamespaceState()
    parts = (
        unknown.metadata,
        unknown.ray_clusters,
        unknown.services,
        unknown.network_policies,
        unknown.quotas,
    )
    assert parts == (None,) * 5 and unknown.labels == {} and not unknown.rights.complete
