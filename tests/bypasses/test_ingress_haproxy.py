"""Rows 50, 52 and 53: annotations of OpenShift and HAProxy that leave an Ingress to Ray open."""

from typing import Any

import pytest

from tests.bypasses.admission import passes, refused
from tests.bypasses.ingresses import (
    DEFAULT_BACKEND,
    HAPROXY,
    OPEN,
    URL,
    haproxy,
    route,
    technologies,
)
from tests.support.factory import Object


@pytest.mark.parametrize("value", ["", " ", "none"])
def test_50_blank_values_at_other_controllers(value: str) -> None:
    assert refused(haproxy({"oauth": value})) == OPEN
    assert refused(technologies({"auth-type": value, "auth-secret": "users"})) == OPEN
    assert refused(haproxy({"auth-url": value.replace("none", "")})) == OPEN


FEW = "192.0.2.0/24 198.51.100.7"


@pytest.mark.parametrize(
    "annotations",
    [
        {"ip_whitelist": "192.0.2.0/24,198.51.100.7"},
        {"ip_whitelist": " 192.0.2.0/24"},
        {"ip_whitelist": "192.0.2.0/24 "},
        {"ip_whitelist": "192.0.2.0/255.255.255.0"},
        {"ip_whitelist": "192.0.2.0/24\n"},
        {"ip_whitelist": "192.0.2.0/24\x1c"},
        {"ip_allowlist": " ", "ip_whitelist": FEW},
        {"ip_allowlist": "none", "ip_whitelist": FEW},
        {"ip_allowlist": "0.0.0.0/0", "ip_whitelist": FEW},
        {"ip_allowlist": "0.0.0.0/1 128.0.0.0/1"},
    ],
)
def test_52_lists_that_openshift_drops(annotations: Object) -> None:
    assert refused(route(annotations)) == OPEN


@pytest.mark.parametrize(
    "annotations",
    [
        {"ip_whitelist": FEW},
        {"ip_allowlist": "192.0.2.0/24   2001:db8::/48"},
        {"ip_allowlist": "", "ip_whitelist": FEW},
        {"ip_allowlist": FEW, "ip_whitelist": "0.0.0.0/0"},
    ],
)
def test_52_lists_of_openshift(annotations: Object) -> None:
    assert passes(route(annotations))


def test_52_an_annotation_that_old_versions_ignore_remains() -> None:
    assert passes(route({"ip_allowlist": FEW}))


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-secret": "users"},
        {"allowlist-source-range": "192.0.2.0/24 198.51.100.7"},
        {"allowlist-source-range": "192.0.2.0/255.255.255.0"},
        {"allowlist-source-range": "!0.0.0.0/0"},
        {"allowlist-source-range": "192.0.2.0/24", "allowlist-source-header": "X-Real-IP"},
        {"allowlist-source-range": "0.0.0.0/0", "whitelist-source-range": "192.0.2.0/24"},
        {"auth-url": URL, "auth-external-placement": "none"},
        {"auth-url": URL, "ingress.kubernetes.io/auth-external-placement": ""},
        {"auth-url": URL, "ingress.kubernetes.io/auth-url": ""},
        {"auth-url": URL, "tcp-service-port": "8265"},
        {"auth-url": URL, "ssl-passthrough": "true"},
        {"auth-url": URL, "config-backend-early": "http-request allow"},
        {"auth-url": URL, "config-backend-late": "http-request allow"},
        {"oauth": "oauth2_proxy", "auth-url": URL, "auth-external-placement": "none"},
    ],
)
def test_53_haproxy_ingress(annotations: Object) -> None:
    assert refused(haproxy(annotations)) == OPEN


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-url": URL},
        {"auth-url": URL, "auth-external-placement": "Frontend"},
        {"ingress.kubernetes.io/auth-url": URL},
        {"oauth": "oauth2_proxy"},
        {"allowlist-source-range": "192.0.2.0/24, 198.51.100.7,!192.0.2.9"},
        {"whitelist-source-range": "192.0.2.0/24", "allowlist-source-range": ""},
    ],
)
def test_53_haproxy_ingress_that_authenticates(annotations: Object) -> None:
    assert passes(haproxy(annotations))


def test_53_a_secret_that_the_administrator_vouches_for() -> None:
    name = f"{HAPROXY}/auth-secret"
    parameters: dict[str, Any] = {"authenticatingAnnotations": {name: []}}
    policy = {"rules": {"no-open-ingress": {"parameters": parameters}}}
    assert refused(haproxy({"auth-secret": "users"}), policy=policy) == set()
    assert refused(haproxy({"auth-secret": " "}), policy=policy) == OPEN


BASIC = {"auth-type": "basic-auth", "auth-secret": "users"}


@pytest.mark.parametrize(
    ("annotations", "change"),
    [
        (BASIC, DEFAULT_BACKEND),
        (BASIC, {**DEFAULT_BACKEND, "/spec/rules": None}),
        ({**BASIC, "ssl-passthrough": "true"}, {}),
        # The controller also reads the name without a prefix.
        ({**BASIC, "!ssl-passthrough": "true"}, {}),
        ({**BASIC, "haproxy.com/auth-type": ""}, {}),
        ({"auth-type": "basic"}, {}),
        ({"allow-list": "192.0.2.0/24", "src-ip-header": "X-Real-IP"}, {}),
        ({"allow-list": "192.0.2.0/24 198.51.100.7"}, {}),
        ({"allow-list": "patterns/office"}, {}),
    ],
)
def test_53_haproxy_technologies(annotations: Object, change: Object) -> None:
    assert refused(technologies(annotations, change)) == OPEN


@pytest.mark.parametrize(
    "annotations",
    [
        BASIC,
        {"haproxy.com/auth-type": "basic-auth"},
        {"allow-list": "192.0.2.0/24, 198.51.100.7"},
        {"whitelist": "192.0.2.0/24"},
    ],
)
def test_53_haproxy_technologies_that_authenticates(annotations: Object) -> None:
    assert passes(technologies(annotations))


def test_53_the_other_controller_of_the_class_remains() -> None:
    """Both controllers call their class `haproxy`, and each ignores the other's annotations."""
    assert passes(haproxy({"auth-url": URL}))
    assert passes(technologies(BASIC))
