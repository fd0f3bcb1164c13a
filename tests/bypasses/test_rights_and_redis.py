"""Row 73: rights of Ray's service account and the Redis of GCS; and operators by Roles, row 18."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, KINDS, RESTRICTED, WORKER, by_both, refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import cluster_role

RBAC = "rbac.authorization.k8s.io"
POWERFUL = {"no-powerful-service-account"}
REDIS = {"protected-redis"}
ACCOUNT: Object = {"kind": "ServiceAccount", "name": "ray", "namespace": "team-a"}
OPERATOR: Object = {"kind": "ServiceAccount", "name": "kuberay", "namespace": "team-a"}
KUBERAY = [("ray.io", "rayclusters/status", "update"), ("", "pods", "create")]
TOKEN = {f"{WORKER}/spec/automountServiceAccountToken": True}
# KubeRay's autoscaler needs the API, so the head has a token.
AUTOSCALING = {"/spec/enableInTreeAutoscaling": True}


def role(
    namespace: str, subject: Object, *rules: tuple[str, str, str], **fields: Any
) -> list[Object]:
    """A Role and its RoleBinding in a namespace; `kind` can make the role a ClusterRole."""
    cluster_wide, binding = cluster_role("r", [subject], *rules)
    reference = {"kind": "Role", **binding["roleRef"], **fields}
    metadata = {"name": "r", "namespace": namespace}
    kind = reference["kind"] = fields.get("kind", "Role")
    granted = {**cluster_wide, "kind": kind, "metadata": metadata}
    bound = {**binding, "kind": "RoleBinding", "metadata": metadata, "roleRef": reference}
    return [granted, bound]


POWERS = [
    ("*", "*", "*"),
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "secrets", "watch"),
    ("*", "secrets", "*"),
    ("", "*", "get"),
    ("", "pods", "create"),
    ("", "pods", "*"),
    ("apps", "deployments", "create"),
    ("apps", "*", "patch"),
    ("batch", "jobs", "create"),
    ("batch", "cronjobs", "update"),
    ("ray.io", "rayclusters", "create"),
    ("", "pods/exec", "create"),
    ("", "*/exec", "get"),
    ("", "pods/ephemeralcontainers", "patch"),
    ("", "nodes/proxy", "get"),
    ("", "serviceaccounts/token", "create"),
    ("", "users", "impersonate"),
    ("", "serviceaccounts", "impersonate"),
    (RBAC, "clusterroles", "bind"),
    (RBAC, "roles", "escalate"),
]


@pytest.mark.parametrize("rule", POWERS)
def test_73_rights_in_all_namespaces(rule: tuple[str, str, str]) -> None:
    """They lead to control of the cluster, or to the key of RayWarden's CA."""
    granted = cluster_role("r", [ACCOUNT], rule)
    assert refused(changed(ray_cluster(), AUTOSCALING), None, *granted) == POWERFUL
    assert refused(changed(ray_cluster(), TOKEN), None, *granted) == POWERFUL
    for namespace in ("kube-system", "raywarden-system"):
        elsewhere = role(namespace, ACCOUNT, rule)
        assert refused(changed(ray_cluster(), AUTOSCALING), None, *elsewhere) == POWERFUL


@pytest.mark.parametrize("rule", POWERS)
@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_73_rights_in_a_namespace(rule: tuple[str, str, str], kind: str, namespace: str) -> None:
    granted = role(namespace, ACCOUNT, rule, kind=kind)
    warned, denied = by_both(changed(ray_cluster(), AUTOSCALING), None, *granted)
    assert warned == denied == POWERFUL


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "User", "name": "system:serviceaccount:team-a:ray"},
        {"kind": "Group", "name": "system:serviceaccounts:team-a"},
        {"kind": "Group", "name": "system:serviceaccounts"},
        {"kind": "Group", "name": "system:authenticated"},
    ],
)
def test_73_rights_by_another_name(subject: Object) -> None:
    cluster = changed(ray_cluster(), AUTOSCALING)
    assert refused(cluster, None, *cluster_role("r", [subject], POWERS[0])) == POWERFUL
    assert by_both(cluster, None, *role("team-a", subject, POWERS[1])) == (POWERFUL, POWERFUL)


@pytest.mark.parametrize("name", ["cluster-admin", "edit", "admin"])
def test_73_a_role_that_every_cluster_has(name: str) -> None:
    """`raywarden review` knows it although the manifests do not contain it."""
    _, binding = cluster_role("r", [ACCOUNT])
    bound = changed(binding, {"/roleRef/name": name})
    assert refused(changed(ray_cluster(), AUTOSCALING), None, bound) == POWERFUL
    view = changed(binding, {"/roleRef/name": "view"})
    assert refused(changed(ray_cluster(), AUTOSCALING), None, view) == set()


def test_73_a_role_that_names_the_administrators() -> None:
    cluster = changed(ray_cluster(), AUTOSCALING)
    for rule, name in (
        ((RBAC, "clusterroles", "bind"), "cluster-admin"),
        (("", "groups", "impersonate"), "system:masters"),
    ):
        granted, binding = cluster_role("r", [ACCOUNT], rule)
        named = changed(granted, {"/rules/0/resourceNames": [name]})
        assert refused(cluster, None, named, binding) == POWERFUL
        other = changed(granted, {"/rules/0/resourceNames": ["view"]})
        assert refused(cluster, None, other, binding) == set()


@pytest.mark.parametrize(("create", "pointer"), KINDS)
def test_73_in_every_kind(create: Any, pointer: str) -> None:
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    document = changed(create(), {f"{pointer}/enableInTreeAutoscaling": True})
    assert refused(document, None, *granted) == POWERFUL


@pytest.mark.parametrize(
    "change",
    [
        {"/spec/authOptions/enableK8sTokenAuth": True},
        {f"{WORKER}/spec/automountServiceAccountToken": True},
        {
            f"{WORKER}/spec/volumes": [
                {
                    "name": "t",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]},
                }
            ]
        },
        {f"{HEAD}/spec/serviceAccount": "ray", f"{HEAD}/spec/serviceAccountName": None}
        | AUTOSCALING,
    ],
)
def test_73_every_way_to_get_a_token(change: Object) -> None:
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    assert refused(changed(ray_cluster(), change), None, *granted) >= POWERFUL


def test_73_the_account_that_kuberay_would_create() -> None:
    """KubeRay uses an existing account with the name of the cluster."""
    cluster = changed(ray_cluster(), {**AUTOSCALING, f"{HEAD}/spec/serviceAccountName": None})
    taken = {**ACCOUNT, "name": "demo"}
    assert refused(cluster, None, *cluster_role("r", [taken], POWERS[0])) == POWERFUL
    everybody = {"kind": "Group", "name": "system:serviceaccounts"}
    place = "/spec/rayClusterSpec/headGroupSpec/template/spec/serviceAccountName"
    job = changed(
        factory.ray_job(), {"/spec/rayClusterSpec/enableInTreeAutoscaling": True, place: None}
    )
    assert refused(job, None, *cluster_role("r", [everybody], POWERS[0])) == POWERFUL


@pytest.mark.parametrize(
    "rules",
    [
        [("", "pods", "get"), ("", "pods", "patch"), ("ray.io", "rayclusters", "patch")],
        [("", "configmaps", "*"), ("", "services", "create"), ("", "pods/log", "get")],
        [("authentication.k8s.io", "tokenreviews", "create")],
        [("authorization.k8s.io", "subjectaccessreviews", "create")],
        [("authentication.k8s.io", "userextras/scopes.authorization.openshift.io", "impersonate")],
        [("", "nodes", "get"), ("", "nodes/metrics", "get"), ("apps", "deployments", "get")],
    ],
)
def test_73_rights_that_lead_no_further_stay_allowed(rules: list[tuple[str, str, str]]) -> None:
    cluster = changed(ray_cluster(), AUTOSCALING)
    for granted in (cluster_role("r", [ACCOUNT], *rules), role("team-a", ACCOUNT, *rules)):
        assert verdict(cluster, None, *granted, policy=RESTRICTED) == (set(), set())


def test_73_other_accounts_and_pods_without_a_token_stay_allowed() -> None:
    for name, namespace in (("other", "team-a"), ("ray", "team-b")):
        granted = cluster_role("r", [{**ACCOUNT, "name": name, "namespace": namespace}], POWERS[0])
        cluster = changed(ray_cluster(), AUTOSCALING)
        assert verdict(cluster, None, *granted, policy=RESTRICTED) == (set(), set())
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    assert verdict(ray_cluster(), None, *granted, policy=RESTRICTED) == (set(), set())


def test_73_rights_that_are_granted_later_remain() -> None:
    """RBAC objects are not sent to RayWarden, and KubeRay must be able to replace its pods."""
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    pod = changed(factory.head_pod(), {"/spec/automountServiceAccountToken": True})
    assert not refused(pod, None, *granted) & POWERFUL


PASSWORD: Object = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "password"}}}
OPTIONS = "/spec/gcsFaultToleranceOptions"
VARIABLE = f"{HEAD}/spec/containers/0/env"


@pytest.mark.parametrize(
    "options",
    [
        {"redisAddress": "redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "redis://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "REDISS://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "rediss://a:1,redis://b:1", "redisPassword": PASSWORD},
        {"redisAddress": "127.0.0.1:6379,redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "localhost.evil.example:6379", "redisPassword": PASSWORD},
        {"redisAddress": " rediss://redis:6379", "redisPassword": PASSWORD},
        {"redisAddress": "rediss://redis:6379"},
        {"redisAddress": "rediss://redis:6379", "redisPassword": {}},
        {"redisAddress": "rediss://redis:6379", "redisPassword": {"value": ""}},
        {
            "redisAddress": "rediss://redis:6379",
            "redisPassword": {"valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
        },
        {
            "redisAddress": "rediss://redis:6379",
            "redisPassword": {"valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        },
    ],
)
def test_73_redis_without_tls_or_password(options: Object) -> None:
    warned, denied = by_both(changed(ray_cluster(), {OPTIONS: options}))
    assert warned == denied == REDIS


@pytest.mark.parametrize("address", ["redis:6379", "redis://redis:6379", "rediss://redis:6379"])
def test_73_redis_by_a_variable(address: str) -> None:
    env = [{"name": "RAY_REDIS_ADDRESS", "value": address}]
    assert by_both(changed(ray_cluster(), {VARIABLE: env})) == (REDIS, REDIS)
    pod = changed(factory.opted_in_pod("head"), {"/spec/containers/0/env/-": env[0]})
    assert refused(pod, policy=RESTRICTED) >= REDIS


@pytest.mark.parametrize(
    "change",
    [
        {OPTIONS: {"redisAddress": "rediss://redis:6379", "redisPassword": PASSWORD}},
        {OPTIONS: {"redisAddress": "rediss://a:1,rediss://b:1", "redisPassword": PASSWORD}},
        {OPTIONS: {"redisAddress": "127.0.0.1:6380"}},
        {OPTIONS: {"redisAddress": "redis://localhost:6380"}},
        {OPTIONS: {"backend": "rocksdb"}},
        {VARIABLE: [{"name": "RAY_REDIS_ADDRESS", "value": "[::1]:6379"}]},
    ],
)
def test_73_a_protected_redis_stays_allowed(change: Object) -> None:
    assert verdict(changed(ray_cluster(), change), policy=RESTRICTED) == (set(), set())


def test_73_an_address_that_cannot_be_read_remains() -> None:
    """It may come from a Secret, so it warns only."""
    source = {"valueFrom": {"secretKeyRef": {"name": "redis", "key": "address"}}}
    document = changed(
        ray_cluster(), {OPTIONS: {"redisAddress": "$(ADDRESS)", "redisPassword": PASSWORD}}
    )
    assert verdict(document, policy=RESTRICTED) == (set(), REDIS)
    variable = [{"name": "RAY_REDIS_ADDRESS", **source}]
    denied, warned = verdict(changed(ray_cluster(), {VARIABLE: variable}), policy=RESTRICTED)
    assert (denied, warned) == (REDIS, REDIS), "it has no password"


USER = "system:serviceaccount:team-a:kuberay"


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_18_an_operator_of_one_namespace(kind: str) -> None:
    """KubeRay with `singleNamespaceInstall` has Roles only; it is the operator where they are."""
    here, elsewhere = (role(name, OPERATOR, *KUBERAY, kind=kind) for name in ("team-a", "team-b"))
    pod = factory.worker_pod()
    assert verdict(pod, None, *here, user=USER) == (set(), set())
    assert refused(pod, None, *elsewhere, user=USER) == {"operator-made-pods"}
    assert refused(pod, None, *here, user="author") == {"operator-made-pods"}
    half = role("team-a", OPERATOR, KUBERAY[1], kind=kind)
    assert refused(pod, None, *half, user=USER) == {"operator-made-pods"}
    everything = role("team-a", OPERATOR, ("*", "*", "*"), kind=kind)
    assert refused(pod, None, *everything, user=USER) == {"operator-made-pods"}


def test_18_an_operator_of_one_namespace_still_needs_a_live_cluster() -> None:
    here = role("team-a", OPERATOR, *KUBERAY)
    forged = changed(factory.worker_pod(), {"/metadata/ownerReferences/0/uid": "0"})
    assert refused(forged, None, *here, user=USER) == {"operator-made-pods"}


def test_18_an_operator_of_one_namespace_is_not_exempt_from_other_rules() -> None:
    """A tenant may be able to write its Role, so its word does not skip any rule."""
    here = role("team-a", OPERATOR, *KUBERAY)
    pod = changed(factory.worker_pod(), {"/spec/hostNetwork": True})
    assert refused(pod, None, *here, user=USER) == {"no-host-access"}
    template = changed(pod, {"/metadata/labels/ray.io~1node-type": "redis-cleanup"})
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "clean-up", "namespace": "team-a"},
        "spec": {"template": {"metadata": template["metadata"], "spec": template["spec"]}},
    }
    assert refused(job, None, *here, user=USER) >= {"no-host-access"}


def test_18_the_remedy_names_the_parameter() -> None:
    reviewer = factory.reviewer()
    violation, *_ = reviewer.verdict(factory.request(factory.worker_pod(), user=USER)).denied
    assert f"if {USER} runs KubeRay" in violation.remediation
    assert "the parameter operators of operator-made-pods" in violation.remediation
    violation, *_ = reviewer.verdict(factory.request(factory.worker_pod(), user="jane")).denied
    assert "operators" not in violation.remediation
