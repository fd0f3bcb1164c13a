"""Row 73: Ray's service account with rights that lead to more rights."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, KINDS, RESTRICTED, WORKER, by_both, refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import cluster_role, namespaced_role

RBAC = "rbac.authorization.k8s.io"
ADMISSION = "admissionregistration.k8s.io"
POWERFUL = {"no-powerful-service-account"}
ACCOUNT: Object = {"kind": "ServiceAccount", "name": "ray", "namespace": "team-a"}
TOKEN = {f"{WORKER}/spec/automountServiceAccountToken": True}
# KubeRay's autoscaler needs the API, so the head has a token.
AUTOSCALING = {"/spec/enableInTreeAutoscaling": True}


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
    ("", "persistentvolumes", "create"),
    (ADMISSION, "mutatingwebhookconfigurations", "patch"),
    (ADMISSION, "validatingwebhookconfigurations", "delete"),
    ("certificates.k8s.io", "certificatesigningrequests/approval", "update"),
]


@pytest.mark.parametrize("rule", POWERS)
def test_73_rights_in_all_namespaces(rule: tuple[str, str, str]) -> None:
    """They lead to control of the cluster, or to the key of RayWarden's CA."""
    granted = cluster_role("r", [ACCOUNT], rule)
    assert refused(changed(ray_cluster(), AUTOSCALING), None, *granted) == POWERFUL
    assert refused(changed(ray_cluster(), TOKEN), None, *granted) == POWERFUL
    for namespace in ("kube-system", "raywarden-system"):
        elsewhere = namespaced_role(namespace, ACCOUNT, rule)
        assert refused(changed(ray_cluster(), AUTOSCALING), None, *elsewhere) == POWERFUL


@pytest.mark.parametrize("rule", POWERS)
@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_73_rights_in_a_namespace(rule: tuple[str, str, str], kind: str, namespace: str) -> None:
    granted = namespaced_role(namespace, ACCOUNT, rule, kind=kind)
    warned, denied = by_both(changed(ray_cluster(), AUTOSCALING), None, *granted)
    assert warned == denied == POWERFUL


@pytest.mark.parametrize(
    "subject",
    [
        {"kind": "User", "name": "system:serviceaccount:team-a:ray"},
        {"kind": "Group", "name": "system:serviceaccounts:team-a"},
    ],
)
def test_73_rights_by_another_name(subject: Object) -> None:
    cluster = changed(ray_cluster(), AUTOSCALING)
    assert refused(cluster, None, *cluster_role("r", [subject], POWERS[0])) == POWERFUL
    local = namespaced_role("team-a", subject, POWERS[1])
    assert by_both(cluster, None, *local) == (POWERFUL, POWERFUL)


@pytest.mark.parametrize("group", ["system:serviceaccounts", "system:authenticated"])
def test_73_rights_of_every_service_account(group: str) -> None:
    """Every pod has them without Ray, as in some clusters for development: refused as hardening."""
    cluster = changed(ray_cluster(), AUTOSCALING)
    everybody: Object = {"kind": "Group", "name": group}
    everywhere = cluster_role("r", [everybody], POWERS[0])
    assert by_both(cluster, None, *everywhere) == (POWERFUL, POWERFUL)
    local = namespaced_role("team-a", everybody, POWERS[1])
    assert by_both(cluster, None, *local) == (POWERFUL, POWERFUL)
    own = cluster_role("own", [ACCOUNT], POWERS[1])
    assert refused(cluster, None, *everywhere, *own) == POWERFUL


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


def with_token_for(audience: str) -> Object:
    """A cluster whose workers have a token for `audience` instead of the usual one."""
    token = {"path": "token", "audience": audience}
    volume = {"name": "t", "projected": {"sources": [{"serviceAccountToken": token}]}}
    chosen = {f"{WORKER}/spec/automountServiceAccountToken": False}
    return changed(ray_cluster(), {**chosen, f"{WORKER}/spec/volumes": [volume]})


@pytest.mark.parametrize(
    "audience",
    [
        "https://kubernetes.default.svc.cluster.local",
        "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
        "https://team-dns-1a2b3c4d.hcp.eastus.azmk8s.io",
        "https://oidc.example.com/cluster",
        "k3s",
        "rke2",
    ],
)
def test_73_tokens_that_an_api_server_accepts(audience: str) -> None:
    """An API server accepts tokens for its issuer, which is another URL in each cloud."""
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    assert refused(with_token_for(audience), None, *granted) == POWERFUL


@pytest.mark.parametrize(
    "audience",
    [
        "sts.amazonaws.com",
        "sts.aliyuncs.com",
        "api://AzureADTokenExchange",
        "team.svc.id.goog",
        "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x",
        "vault",
    ],
)
def test_73_tokens_for_other_services_stay_allowed(audience: str) -> None:
    granted = cluster_role("r", [ACCOUNT], POWERS[0])
    assert refused(with_token_for(audience), None, *granted) == set()


def test_73_pods_without_kuberay() -> None:
    granted = cluster_role("r", [{**ACCOUNT, "name": "web"}], POWERS[0])
    pod = factory.opted_in_pod()
    assert not refused(pod, None, *granted) & POWERFUL, "its token is for RayWarden alone"
    mount = {"name": "api", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
    with_token = changed(pod, {"/spec/containers/0/volumeMounts": [mount]})
    assert refused(with_token, None, *granted) == POWERFUL
    template = {"metadata": {"labels": pod["metadata"]["labels"]}, "spec": pod["spec"]}
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "team-a"},
        "spec": {"template": template},
    }
    assert refused(deployment, None, *granted) == POWERFUL


def test_73_the_account_that_kuberay_would_create() -> None:
    """KubeRay uses an existing account with the name of the cluster."""
    cluster = changed(ray_cluster(), {**AUTOSCALING, f"{HEAD}/spec/serviceAccountName": None})
    taken = {**ACCOUNT, "name": "demo"}
    assert refused(cluster, None, *cluster_role("r", [taken], POWERS[0])) == POWERFUL
    everybody: Object = {"kind": "Group", "name": "system:serviceaccounts:team-a"}
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
    for granted in (
        cluster_role("r", [ACCOUNT], *rules),
        namespaced_role("team-a", ACCOUNT, *rules),
    ):
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
