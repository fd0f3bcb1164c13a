"""Faults of KubeRay, and Ray objects that RayWarden does not cover."""

from tests.support import live_objects
from tests.support.factory import changed
from tests.webhook.check.faults import (
    Fault,
    both,
    failed,
    forbidden,
    ok,
    put,
    unknown,
    validating,
    warning,
    without,
)
from tests.webhook.check.healthy_installation import (
    OPERATOR_RULES,
    binding,
    namespace,
    operator,
    pod,
    policy,
    ray_cluster,
)

OPERATOR = "system:serviceaccount:kuberay:kuberay-operator"
POLICY_WITH_OPERATOR = f"""
kind: Policy
rules:
  operator-made-pods:
    parameters:
      operators: ['{OPERATOR}']
"""
PERMISSIVE = policy("kind: Policy\nnamespacesMayLoosen: true\n")
PRIVILEGED = {"raywarden.io/enforce": "privileged"}
BARE_POD = changed(pod("bare"), {"/spec/initContainers": []})
OLD_POD = changed(BARE_POD, {"/metadata/creationTimestamp": "2026-11-18T00:00:00Z"})
OPTED_IN = changed(
    live_objects.opted_in_pod(), {"/metadata/creationTimestamp": "2026-11-20T08:01:00Z"}
)
NIGHTLY_JOB = {"kind": "RayJob", "name": "nightly", "controller": True}
IN_TEAM_A = {"name": "kuberay-operator", "namespace": "team-a"}
ROLE = {"metadata": IN_TEAM_A, "rules": OPERATOR_RULES}
ROLE_BINDING = changed(binding(), {"/metadata": IN_TEAM_A, "/roleRef/kind": "Role"})
ONLY_RAY_CLUSTERS = {"resources": [{"name": "rayclusters"}]}


def kubernetes_tokens(*denied: tuple[str, str]) -> Fault:
    """A RayCluster with Kubernetes tokens, whose service account lacks these rights."""
    cluster = changed(
        ray_cluster("identities"),
        {
            "/spec/authOptions": {"mode": "token", "enableK8sTokenAuth": True},
            "/spec/headGroupSpec/template/spec": {
                "serviceAccountName": "ray",
                "containers": [{"name": "ray-head"}],
            },
        },
    )
    return both(put("rayclusters", cluster), lambda fake: fake.denied.update(denied))


def dashboard_proxy(*denied: tuple[str, str]) -> Fault:
    """A RayCluster with a proxy, whose service account lacks these rights."""
    template = "/spec/headGroupSpec/template"
    annotations = {"raywarden.io/dashboard-authorization": "{}"}
    spec = {"serviceAccountName": "ray", "containers": [{"name": "ray-head"}]}
    changes = {f"{template}/metadata/annotations": annotations, f"{template}/spec": spec}
    cluster = changed(ray_cluster("proxied"), changes)
    return both(put("rayclusters", cluster), lambda fake: fake.denied.update(denied))


KUBERAY = {
    "dashboard-proxy": ok(
        dashboard_proxy(("ray:write", "rayclusters")),
        "kuberay/token-reviews",
        "service account ray of RayCluster team-a/proxied may check Kubernetes tokens",
    ),
    "dashboard-proxy-without-reviews": warning(
        dashboard_proxy(("create", "subjectaccessreviews")),
        "kuberay/token-reviews",
        "SubjectAccessReviews, so the proxy of its dashboard refuses every caller",
    ),
    "kubernetes-tokens": ok(
        kubernetes_tokens(),
        "kuberay/token-reviews",
        "service account ray of RayCluster team-a/identities may check Kubernetes tokens",
    ),
    "kubernetes-tokens-without-reviews": warning(
        kubernetes_tokens(("create", "tokenreviews")),
        "kuberay/token-reviews",
        "may not create TokenReviews and SubjectAccessReviews, so Ray refuses every caller",
    ),
    "kubernetes-tokens-without-membership": warning(
        kubernetes_tokens(("ray:write", "rayclusters")),
        "kuberay/token-reviews",
        "may not ray:write that cluster, so Ray refuses its own pods",
    ),
    "kubernetes-tokens-that-nobody-may-ask-about": unknown(
        both(kubernetes_tokens(), forbidden("create", "subjectaccessreviews")),
        "kuberay/token-reviews",
        "you may not create subjectaccessreviews",
    ),
    "no-kuberay": warning(
        lambda fake: fake.paths.update({"/apis/ray.io/v1": None}),
        "kuberay/kinds",
        "serves no kind of ray.io/v1",
    ),
    "half-of-kuberay": warning(
        lambda fake: fake.paths.update({"/apis/ray.io/v1": ONLY_RAY_CLUSTERS}),
        "kuberay/kinds",
        "does not serve rayjobs, rayservices",
    ),
    "no-operator": warning(
        without("deployments", "kuberay", "kuberay-operator"),
        "kuberay/operator",
        "no Deployment has the label",
    ),
    "old-operator": warning(
        put("deployments", operator("kuberay/operator:v1.2.2")),
        "kuberay/operator",
        "is version 1.2.2, which does not have spec.authOptions",
    ),
    "operator-down": warning(
        put("deployments", changed(operator(), {"/status/readyReplicas": 0})),
        "kuberay/operator",
        "has no ready replica",
    ),
    "operator-without-version": ok(
        put("deployments", operator("kuberay/operator@sha256:00")),
        "kuberay/operator",
        "does not show its version",
    ),
    "no-account-for-kuberay": warning(
        without("clusterrolebindings", "", "kuberay-operator"),
        "kuberay/operator-account",
        "rejects every pod",
    ),
    "another-account-for-kuberay": warning(
        put("clusterrolebindings", changed(binding(), {"/subjects/0/namespace": "else"})),
        "kuberay/operator-account",
        f"operators: ['{OPERATOR}']",
    ),
    "operator-of-one-namespace": ok(
        both(
            without("clusterrolebindings", "", "kuberay-operator"),
            both(put("roles", ROLE), put("rolebindings", ROLE_BINDING)),
        ),
        "kuberay/operator-account",
        f"{OPERATOR} (in team-a)",
    ),
    "roles-forbidden": unknown(
        forbidden("list", "rolebindings"),
        "kuberay/operator-account",
        "you may not list rolebindings",
    ),
    "operator-in-the-policy": ok(
        both(
            without("clusterrolebindings", "", "kuberay-operator"),
            put("configmaps", policy(POLICY_WITH_OPERATOR)),
        ),
        "kuberay/operator-account",
        OPERATOR,
    ),
}

COVERAGE = {
    "webhook-skips-namespace": warning(
        validating(namespaceSelector={"matchLabels": {"warden": "yes"}}),
        "coverage/namespaces",
        "namespace team-a has Ray in it, but no validating webhook is called for it",
    ),
    "looser-profile": warning(
        both(put("configmaps", PERMISSIVE), put("namespaces", namespace("team-a", **PRIVILEGED))),
        "coverage/looser-profiles",
        "kubectl label namespace team-a raywarden.io/enforce-",
    ),
    "not-managed": warning(
        put("rayclusters", ray_cluster("old", other="label")),
        "coverage/clusters",
        "RayCluster team-a/old has no TLS (0 pods): "
        "it predates RayWarden, or the webhook was bypassed",
    ),
    "opted-out": warning(
        put("rayclusters", ray_cluster("out", **{"raywarden.io/inject": "false"})),
        "coverage/clusters",
        "it opted out of injection",
    ),
    "not-managed-in-a-job": warning(
        put(
            "rayclusters",
            changed(ray_cluster("j", other="label"), {"/metadata/ownerReferences": [NIGHTLY_JOB]}),
        ),
        "coverage/clusters",
        "recreate the RayJob nightly that owns it",
    ),
    "bare-pod": failed(
        put("pods", BARE_POD),
        "coverage/pods",
        "team-a/bare has no init container raywarden-enroll: the mutating webhook was not called",
    ),
    "older-pod": failed(put("pods", OLD_POD), "coverage/pods", "it predates RayWarden"),
    "bare-opted-in-pod": failed(put("pods", OPTED_IN), "coverage/pods", "team-a/web-0"),
    "pods-forbidden": unknown(
        forbidden("list", "pods"), "coverage/ray-pods", "you may not list pods"
    ),
}

CASES = KUBERAY | COVERAGE
