"""Faults of the installation and of its webhook configurations."""

from datetime import UTC, datetime

from tests.support import live_objects
from tests.support.factory import changed
from tests.webhook.check.faults import (
    both,
    failed,
    forbidden,
    mutating,
    nothing,
    ok,
    put,
    unknown,
    validating,
    version,
    warning,
    without,
)
from tests.webhook.check.healthy_installation import (
    HOME,
    IMAGE,
    configuration,
    deployment,
    policy,
    seed,
)

CONFIGURATIONS = "webhook-configurations"
SERVICE = {"namespace": HOME, "name": "raywarden"}
GARBAGE_BUNDLE = {"service": SERVICE, "caBundle": "Z2FyYmFnZQ=="}
CLIENT_CONFIG = configuration("validating")["webhooks"][0]["clientConfig"]
OTHER_SEED = seed(**{"20261020T000000Z": live_objects.secret(3)})
SHARED_SETTINGS = {
    "metadata": {"name": "shared", "namespace": HOME},
    "data": {"ENROLL_IMAGE": "other:1"},
}
CONTAINER = "/spec/template/spec/containers/0"
WITH_SHARED_SETTINGS = changed(
    deployment(),
    {
        f"{CONTAINER}/env/0": {"name": "RAYWARDEN_ENROLL_IMAGE", "valueFrom": {}},
        f"{CONTAINER}/envFrom": [{"configMapRef": {"name": "shared"}, "prefix": "RAYWARDEN_"}],
    },
)

INSTALLATION = {
    "old-kubernetes": failed(
        version("29"), "kubernetes-api/version", "v1.29.0; RayWarden needs matchConditions"
    ),
    "version-forbidden": unknown(
        forbidden("get", "/version"), "kubernetes-api/version", "may not get /version"
    ),
    "missing-permissions": failed(
        lambda fake: fake.denied.update({("watch", "rayclusters"), ("update", "secrets")}),
        "permissions/permissions",
        "raywarden lacks permission to watch rayclusters.ray.io, "
        "update secrets raywarden-seed in namespace raywarden-system",
    ),
    "missing-permission-for-a-name": failed(
        lambda fake: fake.denied.add(("update", "secrets")),
        "permissions/permissions",
        "kubectl auth can-i update secrets/raywarden-seed -n raywarden-system "
        "--as system:serviceaccount:raywarden",
    ),
    "access-reviews-forbidden": unknown(
        forbidden("create", "subjectaccessreviews"),
        "permissions/permissions",
        "ask an administrator for this permission (verify with "
        "kubectl auth can-i create subjectaccessreviews.authorization.k8s.io -A)",
    ),
    "no-deployment": failed(
        without("deployments", HOME, "raywarden"),
        "installation/deployment",
        "kubectl apply -k deploy/base",
    ),
    "deployment-forbidden": unknown(
        forbidden("get", "deployments"),
        "installation/deployment",
        "you may not get deployments.apps",
    ),
    "not-ready": failed(
        put("deployments", changed(deployment(), {"/status/readyReplicas": 0})),
        "installation/replicas-ready",
        "0 of 2 replicas are ready",
    ),
    "half-ready": warning(
        put("deployments", changed(deployment(), {"/status/readyReplicas": 1})),
        "installation/replicas-ready",
        "1 of 2 replicas are ready",
    ),
    "one-replica": warning(
        put(
            "deployments",
            changed(deployment(), {"/status/readyReplicas": 1, "/spec/replicas": 1}),
        ),
        "installation/replicas",
        "--replicas=2",
    ),
    "other-enroll-image": warning(
        put("deployments", deployment(RAYWARDEN_ENROLL_IMAGE="raywarden:0.0.9")),
        "installation/enroll-image",
        f"RAYWARDEN_ENROLL_IMAGE={IMAGE}-enroll",
    ),
    "other-version": warning(
        put("deployments", changed(deployment(), {f"{CONTAINER}/image": "raywarden:v0.0.9"})),
        "installation/version",
        "the server is version 0.0.9, but this command",
    ),
    "no-service": failed(
        without("services", HOME, "raywarden-enroll"),
        "installation/services",
        "no Service raywarden-enroll",
    ),
    "wrong-policy": failed(
        put("configmaps", policy("kind: Policy\nrules:\n  no-rot: {mode: warn}\n")),
        "installation/policy",
        "configmap/raywarden-policy/policy.yaml:3:3: rules.no-rot: no rule is called no-rot",
    ),
    "no-policy": failed(
        without("configmaps", HOME, "raywarden-policy"),
        "installation/policy",
        "policy.yaml does not exist",
    ),
    "policy-elsewhere": unknown(
        put("deployments", deployment(RAYWARDEN_POLICY_FILE="/opt/policy.yaml")),
        "installation/policy",
        "/opt/policy.yaml is not mounted from a ConfigMap",
    ),
    "settings-from-a-config-map": warning(
        both(put("configmaps", SHARED_SETTINGS), put("deployments", WITH_SHARED_SETTINGS)),
        "installation/enroll-image",
        "but the init container of Ray pods uses other:1",
    ),
    "default-policy": ok(
        put("deployments", deployment(RAYWARDEN_POLICY_FILE="")),
        "installation/policy",
        "the default policy",
    ),
}

REGISTRATION = {
    "no-configuration": failed(
        without("validatingwebhookconfigurations", "", "raywarden"),
        f"{CONFIGURATIONS}/validating-configuration",
        "does not exist",
    ),
    "empty-configuration": failed(
        put(
            "mutatingwebhookconfigurations",
            {"metadata": {"name": "raywarden"}, "webhooks": []},
        ),
        f"{CONFIGURATIONS}/mutating-configuration",
        "has no webhooks",
    ),
    "configuration-forbidden": unknown(
        forbidden("get", "mutatingwebhookconfigurations"),
        f"{CONFIGURATIONS}/mutating-configuration",
        "you may not get mutatingwebhookconfigurations",
    ),
    "no-bundle": failed(
        mutating(clientConfig={"service": SERVICE}),
        f"{CONFIGURATIONS}/mutating-ca-bundle",
        "mutating webhook mutate.raywarden.io has no caBundle",
    ),
    "garbage-bundle": failed(
        mutating(clientConfig=GARBAGE_BUNDLE),
        f"{CONFIGURATIONS}/mutating-ca-bundle",
        "holds no PEM certificate",
    ),
    "foreign-bundle": failed(
        put("secrets", changed(seed(), {"/data": OTHER_SEED["data"]})),
        f"{CONFIGURATIONS}/validating-ca-bundle",
        "a caBundle that is not the one derived from the seed",
    ),
    "bundle-expires-soon": warning(
        nothing,
        f"{CONFIGURATIONS}/validating-ca-bundle",
        "expires on 2036-10-28",
        datetime(2036, 9, 20, tzinfo=UTC),
    ),
    "bundle-expired": failed(
        nothing,
        f"{CONFIGURATIONS}/validating-ca-bundle",
        "expired on 2036-10-28",
        datetime(2036, 11, 20, tzinfo=UTC),
    ),
    "mutating-fails": warning(
        mutating(failurePolicy="Fail"),
        f"{CONFIGURATIONS}/mutating-failure-policy",
        "set failurePolicy: Ignore",
    ),
    "validating-ignores": failed(
        validating(failurePolicy="Ignore"),
        f"{CONFIGURATIONS}/validating-failure-policy",
        "accepts every object unchecked",
    ),
    "clients-fail": warning(
        validating(name="clients.raywarden.io"),
        f"{CONFIGURATIONS}/validating-failure-policy",
        "set failurePolicy: Ignore",
    ),
    "clients-ignore": ok(
        validating(name="clients.raywarden.io", failurePolicy="Ignore"),
        f"{CONFIGURATIONS}/validating-failure-policy",
        "failurePolicy Fail",
    ),
    "by-url": warning(
        validating(clientConfig={**CLIENT_CONFIG, "url": "https://x"}),
        f"{CONFIGURATIONS}/validating-service",
        "calls the URL https://x",
    ),
    "other-service": failed(
        put("deployments", deployment(RAYWARDEN_ADMISSION_SERVICE="other")),
        f"{CONFIGURATIONS}/validating-service",
        "instead of raywarden-system/other",
    ),
    "slow": warning(
        validating(timeoutSeconds=30),
        f"{CONFIGURATIONS}/validating-timeout",
        "timeoutSeconds 30",
    ),
    "side-effects": failed(
        validating(sideEffects="Some"),
        f"{CONFIGURATIONS}/validating-side-effects",
        "sideEffects: None",
    ),
}

CASES = INSTALLATION | REGISTRATION
