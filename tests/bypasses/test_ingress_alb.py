"""Rows 46 and 47: annotations of the ALB controller that leave an Ingress to Ray open."""

import pytest

from tests.bypasses.admission import by_both, passes, refused
from tests.bypasses.ingresses import (
    ALB,
    HAPROXY,
    HTTPS,
    OPEN,
    TECHNOLOGIES,
    alb,
)
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster


@pytest.mark.parametrize(
    "annotations",
    [
        {"listen-ports": '[{"HTTP": 80}, {"HTTPS": 443}]'},
        {"listen-ports": '[{"HTTP": 80, "HTTPS": 443}]'},
        {"listen-ports": '[{"HTTPS": 443}, {"H\\u0054TP": 8080}]'},
        # The default is HTTP, unless there is a certificate.
        {},
        {"certificate-arn": " , "},
        # The redirect leads to no listener with HTTPS.
        {"listen-ports": '[{"HTTP": 80}, {"HTTPS": 443}]', "ssl-redirect": "8443"},
        {"listen-ports": '[{"HTTP": 80}]', "ssl-redirect": "80"},
        {"listen-ports": '[{"HTTPS": 80}, {"HTTP": 80}]'},
        {"listen-ports": HTTPS, "auth-on-unauthenticated-request": "allow"},
        {"listen-ports": HTTPS, "auth-type": "none"},
        {"listen-ports": "[]"},
        {"listen-ports": "null"},
        {"listen-ports": "[" * 100_000},
    ],
)
def test_46_alb_listeners_without_https(annotations: Object) -> None:
    assert refused(alb({"auth-type": "oidc", "auth-idp-oidc": "{}", **annotations})) == OPEN


@pytest.mark.parametrize(
    "annotations",
    [
        {"listen-ports": HTTPS},
        {"certificate-arn": "arn:aws:acm:eu-west-1:1:certificate/a"},
        {"listen-ports": '[{"HTTP": 80}, {"HTTPS": 443}]', "ssl-redirect": "443"},
        {"listen-ports": HTTPS, "auth-on-unauthenticated-request": "deny"},
        {"listen-ports": HTTPS, "group.name": "shared"},
    ],
)
def test_46_alb_listeners_with_https(annotations: Object) -> None:
    assert passes(alb({"auth-type": "cognito", "auth-idp-cognito": "{}", **annotations}))


@pytest.mark.parametrize(
    "annotations",
    [
        {f"{ALB}/auth-type": "none"},
        {f"{ALB}/auth-type": ""},
        {f"{ALB}/auth-on-unauthenticated-request": "allow"},
        {f"{HAPROXY}/auth-url": ""},
        {"ingress.kubernetes.io/auth-external-placement": "none"},
        {f"{HAPROXY}/allowlist-source-range": "0.0.0.0/0"},
        {f"{TECHNOLOGIES}/route-acl": "path_beg /"},
        {f"{TECHNOLOGIES}/backend-config-snippet": "http-request allow"},
        {"haproxy-ingress.github.io/config-backend": "http-request allow"},
        {"ingress.kubernetes.io/oauth": "none"},
        {"haproxy-ingress.github.io/oauth": ""},
    ],
)
def test_46_annotations_of_the_service(annotations: Object) -> None:
    """The controllers prefer the annotations of a Service to those of the Ingress."""
    ray = related_objects.service(
        selector={"ray.io/cluster": "demo"}, ports=[{"port": 80, "targetPort": 8265}]
    )
    document = changed(ray, {"/metadata/annotations": annotations})
    assert refused(document) == OPEN
    assert refused(document, ray) == OPEN
    head = changed(ray_cluster(), {"/spec/headServiceAnnotations": annotations})
    assert refused(head) == OPEN
    metadata = {"/spec/headGroupSpec/headService": {"metadata": {"annotations": annotations}}}
    assert refused(changed(ray_cluster(), metadata)) == OPEN
    job = factory.ray_job()
    job["spec"]["rayClusterSpec"]["headServiceAnnotations"] = annotations
    assert refused(job) == OPEN


def test_46_annotations_of_other_services() -> None:
    other = {"/metadata/annotations": {f"{ALB}/auth-type": "none"}}
    assert passes(changed(related_objects.service(), other))
    ray = related_objects.service(selector={"ray.io/cluster": "demo"})
    assert passes(changed(ray, {"/metadata/annotations": {f"{ALB}/auth-type": "oidc"}}))
    by_proxy = {"haproxy-ingress.github.io/oauth": "oauth2_proxy", f"{TECHNOLOGIES}/check": "true"}
    assert passes(changed(ray, {"/metadata/annotations": by_proxy}))
    labels = {"ray.io/cluster": "demo", "ray.io/serve": "true"}
    ports = [{"port": 8000, "targetPort": 8000}]
    serve = changed(related_objects.service(selector=labels, ports=ports), other)
    assert by_both(serve) == (OPEN, OPEN)


def test_46_a_service_that_leads_to_ray_later_remains() -> None:
    none = {"/metadata/annotations": {f"{ALB}/auth-type": "none"}}
    service = changed(related_objects.service(selector={"team": "ml"}), none)
    assert passes(service)
    labels = {"/spec/headGroupSpec/template/metadata": {"labels": {"team": "ml"}}}
    assert passes(changed(ray_cluster(), labels), None, service)


@pytest.mark.parametrize(
    "annotations",
    [
        {"security-groups": "sg-0123456789"},
        {"security-groups": " , sg-open"},
        # Another Ingress of the group can have `security-groups`.
        {"group.name": "shared"},
        {"security-group-prefix-lists": "pl-00000000"},
        {"inbound-cidrs": "0.0.0.0/0"},
        {"inbound-cidrs": " , "},
        {"inbound-cidrs": "192.0.2.0/255.255.255.0"},
        {"inbound-cidrs": "192.0.2.0/24,::/0"},
    ],
)
def test_47_inbound_networks_that_are_ignored(annotations: Object) -> None:
    assert refused(alb({"inbound-cidrs": "198.51.100.0/24", **annotations})) == OPEN


def test_47_inbound_networks() -> None:
    assert passes(alb({"inbound-cidrs": "198.51.100.0/24, 192.0.2.0/28"}))
    assert passes(alb({"inbound-cidrs": "10.0.0.0/8", "security-groups": ""}))
