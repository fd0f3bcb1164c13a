"""What a refused Ingress needs, and which routes lead callers to Ray's own TLS."""

from typing import Any

import pytest

from policies.cluster.ingress.classes import (
    authenticate,
    controllers_of,
    missing,
    unsafe_service_annotations,
)
from policies.cluster.ingress.grammar import parse_bool
from tests.bypasses.admission import refused
from tests.support import factory, registration, related_objects
from tests.support.factory import Object, changed, ray_cluster

NGINX = "nginx.ingress.kubernetes.io"
ALB = "alb.ingress.kubernetes.io"
MANAGED = changed(ray_cluster(), {"/metadata/labels": {"raywarden.io/tls": "managed"}})
RULES = [{"host": "ray.example", "http": {"paths": [{"path": "/"}]}}]


def names(ingress_class: str) -> list[str]:
    return [controller.prefixes[0] for controller in controllers_of(ingress_class)]


def test_the_name_of_a_class_says_who_serves_it() -> None:
    assert names("nginx-internal") == [NGINX]
    assert names("webapprouting.kubernetes.azure.com") == [NGINX]
    assert names("ALB") == [ALB]
    assert names("haproxy") == ["haproxy-ingress.github.io", "haproxy.org"]
    assert names("openshift-default") == ["haproxy.router.openshift.io"]
    assert names("azure-application-gateway") == names("traefik") == []
    assert len(names("corp")) == len(names("")) == 5


@pytest.mark.parametrize(
    ("ingress_class", "annotations", "remedies"),
    [
        (
            "nginx",
            {f"{NGINX}/auth-url": "https://a.example", f"{NGINX}/canary": "true"},
            [
                f"remove {NGINX}/canary, because the controller ignores the authentication of a "
                "canary"
            ],
        ),
        (
            "nginx",
            {f"{NGINX}/auth-tls-secret": "a/ca"},
            [
                f'set the annotation {NGINX}/force-ssl-redirect to "true", because the controller '
                "asks for no client certificate on port 80"
            ],
        ),
        # Of two ways to authenticate, the one that lacks less.
        (
            "nginx",
            {
                f"{NGINX}/auth-url": "https://a.example",
                f"{NGINX}/satisfy": "any",
                f"{NGINX}/auth-cache-key": "x",
                f"{NGINX}/whitelist-source-range": "0.0.0.0/0",
            },
            [f"list only few networks in {NGINX}/allowlist-source-range, with commas between them"],
        ),
        ("nginx", {}, []),
        ("nginx", {f"{ALB}/auth-type": "oidc"}, []),
    ],
)
def test_what_is_missing(ingress_class: str, annotations: Object, remedies: list[str]) -> None:
    controllers = controllers_of(ingress_class)
    assert not authenticate(controllers, annotations, {"rules": RULES})
    assert missing(controllers, annotations, {"rules": RULES}) == remedies


def test_booleans_as_go_reads_them() -> None:
    assert [parse_bool(text) for text in ("1", "t", "True")] == [True] * 3
    assert [parse_bool(text) for text in ("0", "F", "FALSE")] == [False] * 3
    assert [parse_bool(text) for text in ("", "yes", "tRUE", " true")] == [None] * 4


@pytest.mark.parametrize("value", [None, 7, ["x"], {"a": 1}])
def test_values_of_other_types_read_as_missing(value: Any) -> None:
    annotations = {f"{NGINX}/auth-url": value, f"{ALB}/listen-ports": value, "x": value}
    spec = {"rules": [value, {"http": value}], "tls": value, "defaultBackend": value}
    for ingress_class in ("nginx", "alb", "haproxy", "openshift", ""):
        assert not authenticate(controllers_of(ingress_class), annotations, spec)


OVERRIDES = {
    f"{ALB}/auth-type": "none",
    f"{ALB}/auth-on-unauthenticated-request": "allow",
    **{
        f"{prefix}/{name}": value
        for prefix in ("haproxy-ingress.github.io", "ingress.kubernetes.io")
        for name, value in (
            ("auth-url", " "),
            ("auth-external-placement", "x"),
            ("allowlist-source-range", "::/0"),
            ("whitelist-source-range", "x"),
            ("allowlist-source-header", "X-Real-IP"),
            ("oauth", "none"),
            ("config-backend", "http-request allow"),
            ("config-backend-early", "http-request allow"),
            ("config-backend-late", "http-request allow"),
        )
    },
    **{f"{prefix}/route-acl": "always_true" for prefix in ("haproxy.org", "haproxy.com")},
    "ingress.kubernetes.io/route-acl": "always_true",
    **{
        f"{prefix}/backend-config-snippet": "http-request allow"
        for prefix in ("haproxy.org", "haproxy.com", "ingress.kubernetes.io")
    },
}


def test_every_annotation_that_overrides_an_ingress_reaches_the_webhook() -> None:
    assert sorted(unsafe_service_annotations(OVERRIDES)) == sorted(OVERRIDES)
    for name, value in OVERRIDES.items():
        service = changed(related_objects.service(), {"/metadata/annotations": {name: value}})
        assert registration.reaches("validate", factory.request(service))


def to_port(port: Any, **annotations: str) -> Object:
    number = {"number": port} if isinstance(port, int) else {"name": port}
    backend = {"service": {"name": "demo-head-svc", "port": number}}
    named = {f"{NGINX}/{name.replace('_', '-')}": value for name, value in annotations.items()}
    change = {"/spec/rules/0/http/paths/0/backend": backend, "/metadata/annotations": named}
    return changed(related_objects.ingress(), change)


def openshift(port: int, termination: str) -> Object:
    change = {
        "/spec/to/name": "demo-head-svc",
        "/spec/port/targetPort": port,
        "/spec/tls": {"termination": termination},
    }
    return changed(related_objects.route(), change)


def tls_route(port: int) -> Object:
    route = {**related_objects.tcp_route(), "kind": "TLSRoute"}
    return changed(route, {"/spec/rules/0/backendRefs/0": {"name": "demo-head-svc", "port": port}})


def is_open(document: Object, cluster: Object = MANAGED) -> bool:
    return refused(document, None, cluster) == {"no-open-ingress"}


def test_ray_asks_for_a_certificate_behind_a_passthrough() -> None:
    assert not is_open(to_port(10001, ssl_passthrough="true"))
    assert not is_open(to_port(6379, ssl_passthrough="true"))
    assert not is_open(openshift(10001, "passthrough"))
    assert not is_open(tls_route(6379))
    kuberay = changed(ray_cluster(), {"/spec/tlsOptions": {"enabled": True}})
    assert not is_open(to_port(10001, ssl_passthrough="true"), kuberay)


def test_what_is_open_behind_a_passthrough() -> None:
    # These never speak TLS.
    assert is_open(to_port(8265, ssl_passthrough="true"))
    assert is_open(to_port(52365, ssl_passthrough="true"))
    # The controller would show a certificate of its own.
    assert is_open(to_port(10001, ssl_passthrough="true", proxy_ssl_secret="team-a/client"))
    assert is_open(to_port(10001))
    assert is_open(to_port(10001, ssl_passthrough="false"))
    assert is_open(openshift(10001, "edge"))
    assert is_open(openshift(8265, "passthrough"))
    assert is_open(tls_route(8265))
    assert is_open(to_port(10001, ssl_passthrough="true"), ray_cluster())


def test_the_remedy_for_a_sidecars_port_names_the_parameter() -> None:
    reviewer = factory.reviewer()
    for port, expected in (("oauth-proxy", True), (4180, True), ("dashboard", False), (80, False)):
        verdict = reviewer.verdict(factory.request(to_port(port)))
        assert ["allowedPorts" in found.remediation for found in verdict.denied] == [expected]
