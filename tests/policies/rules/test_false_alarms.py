"""What real manifests do harmlessly, and what looks alike but is not harmless."""

from typing import Any

import pytest

from policies.model import Violation
from tests.bypasses.admission import HEAD, KINDS, RAY, WORKER, by_both, passes, refused
from tests.bypasses.ingresses import ALB, NGINX, OPEN, alb, ingress, nginx
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

CLASS = "kubernetes.io/ingress.class"
PROFILING = {"name": "RAY_DASHBOARD_ENABLE_PROFILING", "value": "1"}
MODE = {"name": "RAY_AUTH_MODE", "value": "token"}
TOKEN = {
    "name": "RAY_AUTH_TOKEN",
    "valueFrom": {"secretKeyRef": {"name": "ray", "key": "auth_token"}},
}
HOOKS = {"no-code-hooks"}
PLAIN = "write the value itself, with only letters, digits and ._/:=,@%+-"
BLOCKS_GATEWAYS = "ipv6.deny_all_igw_traffic"
IN_A_GROUP = {"scheme": "internal", "group.name": "shared"}
INTERNAL: list[Object] = [
    {},
    {"target-type": "ip", "subnets": "subnet-1, subnet-2"},
    {"enable-frontend-nlb": "false"},
    {"enable-frontend-nlb": "true", "frontend-nlb-scheme": "internal"},
    {"ip-address-type": "dualstack"},
    {"load-balancer-attributes": "idle_timeout.timeout_seconds=600,"},
    {"load-balancer-attributes": f"a=b, {BLOCKS_GATEWAYS} = true"},
    {**IN_A_GROUP, "enable-frontend-nlb": "false", "ip-address-type": "ipv4"},
    {
        **IN_A_GROUP,
        "frontend-nlb-scheme": "internal",
        "load-balancer-attributes": f"{BLOCKS_GATEWAYS}=true",
    },
]
NOT_INTERNAL: list[Object] = [
    {"scheme": "internet-facing"},
    {"scheme": "Internal"},
    {"scheme": " internal"},
    {"scheme": ""},
    {"enable-frontend-nlb": "true"},
    {"enable-frontend-nlb": "T", "frontend-nlb-scheme": "internet-facing"},
    {"enable-frontend-nlb": "1", "frontend-nlb-scheme": ""},
    {"load-balancer-attributes": f"{BLOCKS_GATEWAYS}=false"},
    {"load-balancer-attributes": f"{BLOCKS_GATEWAYS}=true,{BLOCKS_GATEWAYS}=false"},
    {"load-balancer-attributes": f"a=b,{BLOCKS_GATEWAYS.upper()} =FALSE"},
    {"load-balancer-attributes": r"ipv6.deny\_all_igw_traffic=false"},
    # Another Ingress of the group can add what this one does not state.
    IN_A_GROUP,
    {**IN_A_GROUP, "enable-frontend-nlb": "false"},
    {**IN_A_GROUP, "ip-address-type": "ipv4"},
    {**IN_A_GROUP, "enable-frontend-nlb": "false", "ip-address-type": "dualstack"},
]


def denied(document: Object, rule: str) -> list[Violation]:
    reviewed = review_manifest(factory.reviewer(), Manifest("test", 1, document), "team-a")
    assert reviewed is not None
    return [violation for violation in reviewed.outcome.denied if violation.rule == rule]


def to(name: str, port: Object) -> Object:
    backend = {"service": {"name": name, "port": port}}
    return nginx({}, {"/spec/rules/0/http/paths/0/backend": backend})


def gce(ingress_class: str | None, annotation: str | None) -> Object:
    annotations = {} if annotation is None else {CLASS: annotation}
    return ingress("gce", "", annotations, {"/spec/ingressClassName": ingress_class})


def test_serve_by_the_head_service_counts_under_restricted() -> None:
    assert by_both(to("demo-head-svc", {"number": 8000})) == (OPEN, OPEN)


@pytest.mark.parametrize(
    ("name", "port"),
    [
        ("demo-head-svc", {"number": 8265}),
        ("demo-head-svc", {"number": 80}),
        ("demo-head-svc", {"number": 8001}),
        ("demo-head-svc", {"name": "serve"}),
        ("demo-head-svc", {"name": "8000"}),
        ("demo-head-svc", {}),
    ],
)
def test_other_ports_of_the_head_service_are_refused(name: str, port: Object) -> None:
    assert refused(to(name, port)) == OPEN


def test_serves_number_proves_nothing_if_ray_uses_it() -> None:
    moved = changed(ray_cluster(), {"/spec/headGroupSpec/rayStartParams/dashboard-port": "8000"})
    assert refused(to("demo-head-svc", {"number": 8000}), None, moved) == OPEN
    to_dashboard = related_objects.service(
        selector={"ray.io/cluster": "demo"}, ports=[{"port": 8000, "targetPort": 8265}]
    )
    named = changed(to_dashboard, {"/metadata/name": "demo-head-svc"})
    assert refused(to("demo-head-svc", {"number": 8000}), None, named) == OPEN
    # The clusters of another namespace are unknown.
    route = changed(
        related_objects.http_route(),
        {
            "/spec/rules/0/backendRefs": [
                {"name": "demo-head-svc", "namespace": "team-b", "port": 8000}
            ]
        },
    )
    assert refused(route) == OPEN


@pytest.mark.parametrize("annotations", INTERNAL)
def test_internal_load_balancers_of_aws(annotations: Object) -> None:
    assert passes(alb({"scheme": "internal", **annotations}))


@pytest.mark.parametrize("annotations", NOT_INTERNAL)
def test_load_balancers_of_aws_that_can_be_public(annotations: Object) -> None:
    assert refused(alb({"scheme": "internal", **annotations})) == OPEN


def test_other_controllers_ignore_the_annotation_of_aws() -> None:
    for other in ("nginx", "haproxy", "gce", "traefik"):
        assert refused(ingress(other, ALB, {"scheme": "internal"})) == OPEN


def test_kuberays_own_ingress_with_an_internal_load_balancer() -> None:
    enabled = {"/spec/headGroupSpec/enableIngress": True}
    internal = {CLASS: "alb", f"{ALB}/scheme": "internal"}
    assert passes(changed(ray_cluster(), {**enabled, "/metadata/annotations": internal}))
    # KubeRay writes the class into the field, which GKE does not read.
    gke = {CLASS: "gce-internal"}
    assert refused(changed(ray_cluster(), {**enabled, "/metadata/annotations": gke})) == OPEN


def test_the_remediation_names_internal_load_balancers() -> None:
    (violation,) = denied(alb({}), "no-open-ingress")
    assert f"{ALB}/scheme: internal for an internal load balancer" in violation.remediation
    (violation,) = denied(alb(IN_A_GROUP), "no-open-ingress")
    assert f'set the annotation {ALB}/enable-frontend-nlb to "false"' in violation.remediation


def test_the_internal_class_of_gke() -> None:
    assert passes(gce(None, "gce-internal"))


@pytest.mark.parametrize(
    ("ingress_class", "annotation"),
    [
        (None, "gce"),
        (None, "gce-regional-external"),
        (None, "GCE-internal"),
        (None, "gce-internal "),
        # GKE does not read the field.
        ("gce-internal", None),
        ("gce-internal", ""),
        ("gce", None),
        # Two controllers may serve these, and the other one is public.
        ("nginx", "gce-internal"),
        ("public", "gce-internal"),
        ("gce-internal", "nginx"),
    ],
)
def test_classes_that_gke_does_not_serve_internally(
    ingress_class: str | None, annotation: str | None
) -> None:
    assert refused(gce(ingress_class, annotation)) == OPEN


@pytest.mark.parametrize("port", [6379, 10001])
def test_the_remediation_for_ports_where_ray_speaks_tls(port: int) -> None:
    backend = {"service": {"name": "demo-head-svc", "port": {"number": port}}}
    change = {"/spec/rules/0/http/paths/0/backend": backend}
    document = nginx({"ssl-passthrough": "true"}, change)
    (violation,) = denied(document, "no-open-ingress")
    assert violation.remediation.startswith("create the RayCluster first, with mTLS")
    assert NGINX not in violation.remediation
    managed = changed(ray_cluster(), {"/metadata/labels": {"raywarden.io/tls": "managed"}})
    assert passes(document, None, managed)


def test_the_remediation_for_tls_passed_to_the_dashboard() -> None:
    (violation,) = denied(nginx({"ssl-passthrough": "true"}), "no-open-ingress")
    assert violation.remediation.startswith("stop passing TLS through")


@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_profiling_with_a_token(kind: Any, place: str) -> None:
    env = f"{place}/headGroupSpec/template/spec/containers/0/env"
    without = changed(kind(), {env: [PROFILING], f"{place}/authOptions": {}})
    assert refused(without) == HOOKS
    (violation,) = denied(without, "no-code-hooks")
    assert "authOptions: {mode: token}" in violation.remediation
    assert passes(changed(without, {f"{place}/authOptions": {"mode": "token"}}))


def test_profiling_with_a_token_in_a_command() -> None:
    token = {"/spec/authOptions": {"mode": "token"}}
    command = {f"{RAY}/args": ["export RAY_DASHBOARD_ENABLE_PROFILING=1"]}
    assert "no-code-hooks" in refused(changed(ray_cluster(), {**command, "/spec/authOptions": {}}))
    assert "no-code-hooks" not in refused(changed(ray_cluster(), {**command, **token}))


@pytest.mark.parametrize(
    "change",
    [
        {"/spec/authOptions": {"mode": "disabled"}},
        {"/spec/authOptions": {"mode": "Token"}},
        {"/spec/authOptions": {"enableK8sTokenAuth": True}},
        {f"{WORKER}/spec/containers/0/env": [{"name": "RAY_AUTH_MODE", "value": "disabled"}]},
        {f"{WORKER}/spec/containers/0/env": [{"name": "RAY_AUTH_MODE"}]},
        {f"{WORKER}/spec/containers/0/env": [MODE, {"name": "RAY_AUTH_MODE", "value": ""}]},
        {f"{RAY}/env": [PROFILING, {"name": "RAY_AUTH_MODE", "value": "off"}]},
        # Only the head.
        {"/spec/authOptions": None, f"{RAY}/env": [PROFILING, MODE, TOKEN]},
    ],
)
def test_profiling_without_a_token_everywhere(change: Object) -> None:
    token = {"/spec/authOptions": {"mode": "token"}, f"{RAY}/env": [PROFILING]}
    assert refused(changed(ray_cluster(), {**token, **change})) >= HOOKS


def test_profiling_in_pods() -> None:
    place = "/spec/containers/0/env"
    pod = factory.head_pod()
    assert refused(changed(pod, {place: [PROFILING]})) == HOOKS
    assert refused(changed(pod, {place: [PROFILING, MODE, TOKEN]})) == set()
    # A RayJob that uses an existing cluster does not say whether that one asks for a token.
    job = changed(
        factory.ray_job(),
        {
            "/spec/rayClusterSpec": None,
            "/spec/clusterSelector": {"ray.io/cluster": "demo"},
            "/spec/runtimeEnvYAML": 'env_vars: {RAY_DASHBOARD_ENABLE_PROFILING: "1"}',
        },
    )
    assert refused(job) == HOOKS


def test_shared_processes_count_under_restricted() -> None:
    shared = changed(ray_cluster(), {f"{HEAD}/spec/shareProcessNamespace": True})
    rule = "no-host-access"
    warned, refused_by_restricted = by_both(shared)
    assert rule in warned and rule in refused_by_restricted
    assert refused(changed(shared, {f"{HEAD}/spec/hostPID": True})) == {rule}


@pytest.mark.parametrize(
    ("name", "value", "remediation"),
    [
        ("node-ip-address", "$OTHER", "remove node-ip-address; Ray then uses the IP of the pod"),
        ("node-ip-address", "${OTHER}", "remove node-ip-address; Ray then uses the IP of the pod"),
        (
            "node-ip-address",
            "$(hostname).demo.team-a.svc.cluster.local",
            "remove node-ip-address; Ray then uses the IP of the pod",
        ),
        ("temp-dir", "$TMPDIR/ray", PLAIN),
        ("object-store-memory", "$((4*1024))", PLAIN),
        ("labels", "${LABELS}", PLAIN),
        ("num-cpus", "$CPUS", 'set num-cpus: "8", or another plain value'),
        ("num-gpus", "a b", 'set num-gpus: "8", or another plain value'),
    ],
)
def test_one_refusal_with_a_fitting_remediation(name: str, value: str, remediation: str) -> None:
    place = "/spec/headGroupSpec/rayStartParams"
    (violation,) = denied(changed(ray_cluster(), {place: {name: value}}), "safe-ray-start-params")
    assert violation.remediation == remediation
