"""What can be wrong with the installation and its webhook configurations, by name."""

from datetime import UTC, datetime

from tests.support import live_objects
from tests.support.factory import changed
from tests.webhook.check.faults import (
    both,
    case,
    forbidden,
    mutating,
    put,
    validating,
    version,
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
from webhook.check.findings import Status

OK, UNKNOWN, WARNING, FAILED = Status.OK, Status.UNKNOWN, Status.WARNING, Status.FAILED

CASES = {
    "old-kubernetes": case(version("29"), "kubernetes-api/version", FAILED, "v1.29.0: matchConditions"),
    "version-forbidden": case(
        forbidden("get", "/version"), "kubernetes-api/version", UNKNOWN, "may not get /version"
    ),
    "missing-rights": case(
        lambda fake: fake.denied.update({("watch", "rayclusters"), ("update", "secrets")}),
        "permissions/rights", FAILED,
        "raywarden may not watch rayclusters.ray.io, update secrets raywarden-seed in namespace raywarden-system",
    ),
    "missing-right-of-a-name": case(
        lambda fake: fake.denied.add(("update", "secrets")), "permissions/rights", FAILED,
        "kubectl auth can-i update secrets/raywarden-seed -n raywarden-system --as system:serviceaccount:raywarden",
    ),
    "may-not-ask-for-rights": case(
        forbidden("create", "subjectaccessreviews"), "permissions/rights", UNKNOWN,
        "grant you that (kubectl auth can-i create subjectaccessreviews.authorization.k8s.io -A)",
    ),
    "no-deployment": case(
        without("deployments", HOME, "raywarden"), "installation/deployment", FAILED, "kubectl apply -k deploy/base"
    ),
    "deployment-forbidden": case(
        forbidden("get", "deployments"), "installation/deployment", UNKNOWN, "you may not get deployments.apps"
    ),
    "not-ready": case(
        put("deployments", changed(deployment(), {"/status/readyReplicas": 0})),
        "installation/replicas-ready", FAILED, "0 of 2 replicas are ready",
    ),
    "half-ready": case(
        put("deployments", changed(deployment(), {"/status/readyReplicas": 1})),
        "installation/replicas-ready", WARNING, "1 of 2 replicas are ready",
    ),
    "one-replica": case(
        put("deployments", changed(deployment(), {"/status/readyReplicas": 1, "/spec/replicas": 1})),
        "installation/replicas", WARNING, "--replicas=2",
    ),
    "other-enroll-image": case(
        put("deployments", deployment(RAYWARDEN_ENROLL_IMAGE="raywarden:0.0.9")),
        "installation/enroll-image", WARNING, f"RAYWARDEN_ENROLL_IMAGE={IMAGE}",
    ),
    "other-version": case(
        put("deployments", changed(deployment(), {"/spec/template/spec/containers/0/image": "raywarden:v0.0.9"})),
        "installation/version", WARNING, "the server is 0.0.9, and this command",
    ),
    "no-service": case(
        without("services", HOME, "raywarden-enroll"), "installation/services", FAILED, "no Service raywarden-enroll"
    ),
    "policy-wrong": case(
        put("configmaps", policy("kind: Policy\nrules:\n  no-rot: {mode: warn}\n")),
        "installation/policy", FAILED,
        "configmap/raywarden-policy/policy.yaml:3:3: rules.no-rot: no rule is called no-rot",
    ),
    "policy-gone": case(
        without("configmaps", HOME, "raywarden-policy"), "installation/policy", FAILED, "policy.yaml is not there"
    ),
    "policy-elsewhere": case(
        put("deployments", deployment(RAYWARDEN_POLICY_FILE="/opt/policy.yaml")),
        "installation/policy", UNKNOWN, "/opt/policy.yaml is mounted from no ConfigMap",
    ),
    "settings-from-a-config-map": case(
        both(
            put("configmaps", {"metadata": {"name": "shared", "namespace": HOME}, "data": {"ENROLL_IMAGE": "other:1"}}),
            put("deployments", changed(deployment(), {
                "/spec/template/spec/containers/0/env/0": {"name": "RAYWARDEN_ENROLL_IMAGE", "valueFrom": {}},
                "/spec/template/spec/containers/0/envFrom": [
                    {"configMapRef": {"name": "shared"}, "prefix": "RAYWARDEN_"}
                ],
            })),
        ),
        "installation/enroll-image", WARNING, "and the init container of pods other:1",
    ),
    "policy-by-default": case(
        put("deployments", deployment(RAYWARDEN_POLICY_FILE="")), "installation/policy", OK, "the default policy"
    ),
    "no-configuration": case(
        without("validatingwebhookconfigurations", "", "raywarden"),
        "webhook-configurations/validating-configuration", FAILED, "does not exist",
    ),
    "empty-configuration": case(
        put("mutatingwebhookconfigurations", {"metadata": {"name": "raywarden"}, "webhooks": []}),
        "webhook-configurations/mutating-configuration", FAILED, "has no webhooks",
    ),
    "configuration-forbidden": case(
        forbidden("get", "mutatingwebhookconfigurations"),
        "webhook-configurations/mutating-configuration", UNKNOWN, "you may not get mutatingwebhookconfigurations",
    ),
    "no-bundle": case(
        mutating(clientConfig={"service": {"namespace": HOME, "name": "raywarden"}}),
        "webhook-configurations/mutating-ca-bundle", FAILED, "mutating webhook mutate.raywarden.io has no caBundle",
    ),
    "garbage-bundle": case(
        mutating(clientConfig={"service": {"namespace": HOME, "name": "raywarden"}, "caBundle": "Z2FyYmFnZQ=="}),
        "webhook-configurations/mutating-ca-bundle", FAILED, "holds no certificate",
    ),
    "foreign-bundle": case(
        put("secrets", changed(seed(), {"/data": seed(**{"20261020T000000Z": live_objects.secret(3)})["data"]})),
        "webhook-configurations/validating-ca-bundle", FAILED, "another caBundle than the one that follows",
    ),
    "bundle-ends-soon": case(
        lambda fake: None, "webhook-configurations/validating-ca-bundle", WARNING, "ends on 2036-10-28",
        datetime(2036, 9, 20, tzinfo=UTC),
    ),
    "bundle-ended": case(
        lambda fake: None, "webhook-configurations/validating-ca-bundle", FAILED, "ended on 2036-10-28",
        datetime(2036, 11, 20, tzinfo=UTC),
    ),
    "mutating-fails": case(
        mutating(failurePolicy="Fail"), "webhook-configurations/mutating-failure-policy", WARNING,
        "write failurePolicy: Ignore",
    ),
    "validating-ignores": case(
        validating(failurePolicy="Ignore"), "webhook-configurations/validating-failure-policy", FAILED,
        "let in unjudged",
    ),
    "by-url": case(
        validating(clientConfig={**configuration("validating")["webhooks"][0]["clientConfig"], "url": "https://x"}),
        "webhook-configurations/validating-service", WARNING, "points to the URL https://x",
    ),
    "other-service": case(
        put("deployments", deployment(RAYWARDEN_ADMISSION_SERVICE="other")),
        "webhook-configurations/validating-service", FAILED, "and not to raywarden-system/other",
    ),
    "slow": case(
        validating(timeoutSeconds=30), "webhook-configurations/validating-timeout", WARNING, "timeoutSeconds 30"
    ),
    "side-effects": case(
        validating(sideEffects="Some"), "webhook-configurations/validating-side-effects", FAILED, "sideEffects: None"
    ),
}  # fmt: skip
