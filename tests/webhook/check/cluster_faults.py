"""What can be wrong with admission, certificates, KubeRay and what it has made, by name."""

from datetime import UTC, datetime

from tests.support import live_objects
from tests.support.factory import changed
from tests.webhook.check import healthy_installation
from tests.webhook.check.faults import (
    both,
    case,
    dry_run_fails,
    forbidden,
    letting,
    put,
    validating,
    without,
)
from tests.webhook.check.healthy_installation import (
    HOME,
    deployment,
    namespace,
    operator,
    pod,
    policy,
    ray_cluster,
    seed,
)
from webhook.check.findings import Status

OK, UNKNOWN, WARNING, FAILED = Status.OK, Status.UNKNOWN, Status.WARNING, Status.FAILED

CALLED = "failed calling webhook"
REFUSED = 'Post "https://raywarden.raywarden-system.svc:443/validate": dial tcp 10.0.0.7:443: connect: connection refused'
DENIED = 'admission webhook "validate.raywarden.io" denied the request'
PRIVILEGED = {"raywarden.io/enforce": "privileged"}
BARE_POD = changed(pod("bare"), {"/spec/initContainers": []})
LOOSE = policy("kind: Policy\nnamespacesMayLoosen: true\n")
OPTED_IN = changed(
    live_objects.opted_in_pod(), {"/metadata/creationTimestamp": "2026-11-20T08:01:00Z"}
)

CASES = {
    "cannot-be-called": case(
        dry_run_fails("pods", 500, f'Internal error occurred: {CALLED} "validate.raywarden.io": failed to call: {REFUSED}'),
        "admission/refuses", FAILED, "connect: connection refused",
    ),
    "others-refuse": case(
        dry_run_fails("pods", 403, 'admission webhook "gatekeeper.sh" denied the request: [x] no'),
        "admission/refuses", UNKNOWN, "somebody else refuses it first: admission webhook \"gatekeeper.sh\"",
    ),
    "over-quota": case(
        dry_run_fails("pods", 403, 'pods "x" is forbidden: exceeded quota: q'),
        "admission/refuses", UNKNOWN, "exceeded quota",
    ),
    "not-called": case(letting(), "admission/refuses", FAILED, "no webhook of ours is called"),
    "only-mutated": case(letting(mutated="yes"), "admission/refuses", FAILED, "the validating one lets it pass"),
    "only-warned": case(
        letting(said="operator-made-pods: this pod"), "admission/refuses", FAILED, "we are asked, and only warn"
    ),
    "may-not-dry-run": case(
        forbidden("create", "pods"), "admission/refuses", UNKNOWN, "kubectl auth can-i create pods -n team-a"
    ),
    "not-completed": case(
        lambda fake: fake.dry_runs.pop("rayclusters"), "admission/completes", FAILED,
        "comes back without raywarden.io/tls",
    ),
    "refused-by-us": case(
        dry_run_fails("rayclusters", 403, f"{DENIED}: trusted-images: no"),
        "admission/completes", UNKNOWN, "refused by us before anything can be seen: trusted-images: no",
    ),
    "no-kuberay-to-dry-run": case(
        lambda fake: fake.unknown.add("rayclusters"), "admission/completes", UNKNOWN, "or no rayclusters.ray.io"
    ),
    "no-seed": case(
        without("secrets", HOME, "raywarden-seed"), "certificates/seed", FAILED, "logs deployment/raywarden"
    ),
    "seed-forbidden": case(forbidden("get", "secrets"), "certificates/seed", UNKNOWN, "you may not get secrets"),
    "seed-broken": case(put("secrets", seed(x=b"")), "certificates/seed", FAILED, "the name of entry 'x' is not an activation time"),
    "seed-retired": case(
        put("secrets", seed(**{"20261001T000000Z.retired.20261102T000000Z": live_objects.secret(4)})),
        "certificates/seed", OK,
        "2 generations: 20261001T000000Z, 20261101T000000Z; retired, and still trusted: 20261001",
    ),
    "seed-mounted": case(
        put("deployments", deployment(RAYWARDEN_SEED_DIR="/seed")), "certificates/seed", OK, "RAYWARDEN_SEED_DIR=/seed"
    ),
    "own-certificate": case(
        put("deployments", deployment(RAYWARDEN_TLS_CERT_FILE="/tls/tls.crt")),
        "certificates/own-certificate", OK, "/tls/tls.crt",
    ),
    "serving-ca-soon": case(
        lambda fake: None, "certificates/serving-ca", WARNING, "ends on 2036-10-28", datetime(2036, 9, 20, tzinfo=UTC)
    ),
    "serving-ca-ended": case(
        lambda fake: None, "certificates/serving-ca", FAILED, "ends on 2036-10-28", datetime(2037, 9, 20, tzinfo=UTC)
    ),
    "certificates-end-soon": case(
        put("deployments", deployment(RAYWARDEN_CERTIFICATE_DAYS="30")), "certificates/clusters", WARNING,
        "team-a/demo: a certificate ends on 2026-12-20: restart its pods before",
    ),
    "certificates-ended": case(
        lambda fake: None, "certificates/clusters", FAILED, "team-a/demo: a certificate ended on 2028-11-19",
        datetime(2028, 12, 1, tzinfo=UTC),
    ),
    "pods-behind": case(
        put("secrets", seed(**{"20261120T090000Z": live_objects.secret(5)})), "certificates/clusters", WARNING,
        "team-a/demo: 2 of 2 pods do not know 20261120T090000Z",
    ),
    "clusters-forbidden": case(
        forbidden("list", "rayclusters"), "certificates/clusters", UNKNOWN, "you may not list rayclusters.ray.io"
    ),
    "no-kuberay": case(
        lambda fake: fake.paths.update({"/apis/ray.io/v1": None}),
        "kuberay/kinds", WARNING, "serves nothing at ray.io/v1",
    ),
    "half-kuberay": case(
        lambda fake: fake.paths.update({"/apis/ray.io/v1": {"resources": [{"name": "rayclusters"}]}}),
        "kuberay/kinds", WARNING, "does not serve rayjobs, rayservices",
    ),
    "no-operator": case(
        without("deployments", "kuberay", "kuberay-operator"), "kuberay/operator", WARNING, "no Deployment is labeled"
    ),
    "old-operator": case(
        put("deployments", operator("kuberay/operator:v1.2.2")),
        "kuberay/operator", WARNING, "is 1.2.2: it knows no spec.authOptions",
    ),
    "operator-down": case(
        put("deployments", changed(operator(), {"/status/readyReplicas": 0})),
        "kuberay/operator", WARNING, "no replica that is ready",
    ),
    "operator-without-version": case(
        put("deployments", operator("kuberay/operator@sha256:00")), "kuberay/operator", OK, "names no version"
    ),
    "nobody-runs-kuberay": case(
        without("clusterrolebindings", "", "kuberay-operator"), "kuberay/operator-rights", WARNING, "refuses every pod"
    ),
    "another-runs-kuberay": case(
        put("clusterrolebindings", changed(healthy_installation.binding(), {"/subjects/0/namespace": "else"})),
        "kuberay/operator-rights", WARNING, "operators: ['system:serviceaccount:kuberay:kuberay-operator']",
    ),
    "policy-names-the-operator": case(
        both(
            without("clusterrolebindings", "", "kuberay-operator"),
            put("configmaps", policy(
                "kind: Policy\nrules:\n  operator-made-pods:\n    parameters:\n"
                "      operators: ['system:serviceaccount:kuberay:kuberay-operator']\n"
            )),
        ),
        "kuberay/operator-rights", OK, "system:serviceaccount:kuberay:kuberay-operator",
    ),
    "passed-by": case(
        validating(namespaceSelector={"matchLabels": {"warden": "yes"}}),
        "coverage/namespaces", WARNING, "namespace team-a has Ray in it, and no validating webhook is called for it",
    ),
    "loosened": case(
        both(put("configmaps", LOOSE), put("namespaces", namespace("team-a", **PRIVILEGED))),
        "coverage/loosened", WARNING, "kubectl label namespace team-a raywarden.io/enforce-",
    ),
    "unmanaged": case(
        put("rayclusters", ray_cluster("old", other="label")), "coverage/clusters", WARNING,
        "RayCluster team-a/old has no TLS (0 pods): it was there before, or past us",
    ),
    "opted-out": case(
        put("rayclusters", ray_cluster("out", **{"raywarden.io/inject": "false"})), "coverage/clusters", WARNING,
        "it asked to be left alone",
    ),
    "of-a-job": case(
        put("rayclusters", changed(ray_cluster("j", other="label"), {
            "/metadata/ownerReferences": [{"kind": "RayJob", "name": "nightly", "controller": True}]})),
        "coverage/clusters", WARNING, "recreate the RayJob nightly it is of",
    ),
    "bare-pod": case(
        put("pods", BARE_POD), "coverage/pods", FAILED,
        "team-a/bare has no init container raywarden-enroll: it was made while",
    ),
    "pod-from-before": case(
        put("pods", changed(BARE_POD, {"/metadata/creationTimestamp": "2026-11-18T00:00:00Z"})),
        "coverage/pods", FAILED, "it was there before",
    ),
    "bare-opted-in-pod": case(put("pods", OPTED_IN), "coverage/pods", FAILED, "team-a/web-0"),
    "pods-forbidden": case(forbidden("list", "pods"), "coverage/ray-pods", UNKNOWN, "you may not list pods"),
}  # fmt: skip
