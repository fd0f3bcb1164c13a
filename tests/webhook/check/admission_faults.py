"""Faults of admission and of certificates."""

from datetime import UTC, datetime

from tests.support import live_objects
from tests.webhook.check.faults import (
    accepting_pods,
    dry_run_fails,
    failed,
    forbidden,
    nothing,
    ok,
    put,
    unknown,
    warning,
    without,
)
from tests.webhook.check.healthy_installation import HOME, deployment, seed

REJECTS, COMPLETES = "admission/rejects-forged-pod", "admission/completes-ray-cluster"
CONNECTION_REFUSED = (
    'Post "https://raywarden.raywarden-system.svc:443/validate": '
    "dial tcp 10.0.0.7:443: connect: connection refused"
)
NOT_CALLED = (
    'Internal error occurred: failed calling webhook "validate.raywarden.io": '
    f"failed to call: {CONNECTION_REFUSED}"
)
DENIED = 'admission webhook "validate.raywarden.io" denied the request'
RETIRED_ENTRY = "20261001T000000Z.retired.20261102T000000Z"

ADMISSION = {
    "cannot-be-called": failed(
        dry_run_fails("pods", 500, NOT_CALLED), REJECTS, "connect: connection refused"
    ),
    "others-reject": unknown(
        dry_run_fails("pods", 403, 'admission webhook "gatekeeper.sh" denied the request: [x] no'),
        REJECTS,
        'another admission controller rejected it first: admission webhook "gatekeeper.sh"',
    ),
    "over-quota": unknown(
        dry_run_fails("pods", 403, 'pods "x" is forbidden: exceeded quota: q'),
        REJECTS,
        "exceeded quota",
    ),
    "not-called": failed(accepting_pods(), REJECTS, "no RayWarden webhook is called"),
    "only-mutated": failed(
        accepting_pods(mutated=True), REJECTS, "the validating webhook does not reject the pod"
    ),
    "only-warned": failed(
        accepting_pods(warning="operator-made-pods: this pod"),
        REJECTS,
        "RayWarden is called, but only warns",
    ),
    "may-not-dry-run": unknown(
        forbidden("create", "pods"), REJECTS, "kubectl auth can-i create pods -n team-a"
    ),
    "not-completed": failed(
        lambda fake: fake.dry_runs.pop("rayclusters"),
        COMPLETES,
        "does not get the label raywarden.io/tls",
    ),
    "rejected-for-another-reason": unknown(
        dry_run_fails("rayclusters", 403, f"{DENIED}: trusted-images: no"),
        COMPLETES,
        "RayWarden rejected it for another reason: trusted-images: no",
    ),
    "no-kuberay-to-dry-run": unknown(
        lambda fake: fake.unknown.add("rayclusters"), COMPLETES, "or no rayclusters.ray.io"
    ),
}

CERTIFICATES = {
    "no-seed": failed(
        without("secrets", HOME, "raywarden-seed"), "certificates/seed", "logs deployment/raywarden"
    ),
    "seed-forbidden": unknown(
        forbidden("get", "secrets"), "certificates/seed", "you may not get secrets"
    ),
    "seed-broken": failed(
        put("secrets", seed(x=b"")),
        "certificates/seed",
        "the name of entry 'x' is not an activation time",
    ),
    "seed-retired": ok(
        put("secrets", seed(**{RETIRED_ENTRY: live_objects.secret(4)})),
        "certificates/seed",
        "2 generations: 20261001T000000Z, 20261101T000000Z; retired but still trusted: 20261001",
    ),
    "seed-mounted": ok(
        put("deployments", deployment(RAYWARDEN_SEED_DIR="/seed")),
        "certificates/seed",
        "RAYWARDEN_SEED_DIR=/seed",
    ),
    "own-certificate": ok(
        put("deployments", deployment(RAYWARDEN_TLS_CERT_FILE="/tls/tls.crt")),
        "certificates/own-certificate",
        "/tls/tls.crt",
    ),
    "serving-ca-expires-soon": warning(
        nothing,
        "certificates/serving-ca",
        "expires on 2036-10-28",
        datetime(2036, 9, 20, tzinfo=UTC),
    ),
    "serving-ca-expired": failed(
        nothing,
        "certificates/serving-ca",
        "expired on 2036-10-28",
        datetime(2037, 9, 20, tzinfo=UTC),
    ),
    "certificates-expire-soon": warning(
        put("deployments", deployment(RAYWARDEN_CERTIFICATE_DAYS="30")),
        "certificates/clusters",
        "team-a/demo: a certificate expires on 2026-12-20; restart the cluster's pods before then",
    ),
    "certificates-expired": failed(
        nothing,
        "certificates/clusters",
        "team-a/demo: a certificate expired on 2028-11-19",
        datetime(2028, 12, 1, tzinfo=UTC),
    ),
    "pods-without-the-new-ca": warning(
        put("secrets", seed(**{"20261120T090000Z": live_objects.secret(5)})),
        "certificates/clusters",
        "team-a/demo: 2 of 2 pods do not trust 20261120T090000Z",
    ),
    "clusters-forbidden": unknown(
        forbidden("list", "rayclusters"),
        "certificates/clusters",
        "you may not list rayclusters.ray.io",
    ),
}

CASES = ADMISSION | CERTIFICATES
