"""Rows 48 to 51: annotations of ingress-nginx that leave an Ingress to Ray open."""

from typing import Any

import pytest

from tests.bypasses.admission import KINDS, passes, refused
from tests.bypasses.ingresses import (
    DEFAULT_BACKEND,
    NGINX,
    OPEN,
    PATH,
    TLS,
    URL,
    ingress,
    nginx,
    with_enabled_ingress,
)
from tests.support.factory import Object, changed


@pytest.mark.parametrize("canary", ["true", "True", "TRUE", "t", "T", "1"])
@pytest.mark.parametrize(
    "authentication",
    [
        {"auth-url": URL},
        {"auth-type": "basic", "auth-secret": "users"},
        {"auth-tls-secret": "team-a/ca", "force-ssl-redirect": "true"},
        {"whitelist-source-range": "198.51.100.0/24"},
    ],
)
def test_48_canaries(canary: str, authentication: Object) -> None:
    assert passes(nginx(authentication))
    annotations = {**authentication, "canary": canary, "canary-by-header": "x"}
    assert refused(nginx(annotations)) == OPEN
    assert refused(with_enabled_ingress(annotations)) == OPEN
    assert passes(nginx({**authentication, "canary": "false"}))


@pytest.mark.parametrize(("kind", "place"), KINDS[1:3])
def test_48_canaries_of_jobs_and_services(kind: Any, place: str) -> None:
    """KubeRay copies their annotations to their RayCluster."""
    annotations = {f"{NGINX}/auth-url": URL}
    change = {f"{place}/headGroupSpec/enableIngress": True, "/metadata/annotations": annotations}
    document = changed(kind(), change)
    assert passes(document)
    canary = {**annotations, f"{NGINX}/canary": "true"}
    assert refused(changed(document, {"/metadata/annotations": canary})) == OPEN


def test_48_ingresses_that_leave_the_controllers_own_authentication() -> None:
    parameters = {"authenticatingClasses": ["sso"]}
    policy = {"rules": {"no-open-ingress": {"parameters": parameters}}}
    kept = ingress("sso", NGINX, {"enable-global-auth": "true"})
    assert refused(kept, policy=policy) == set()
    left = ingress("sso", NGINX, {"enable-global-auth": "false"})
    assert refused(left, policy=policy) == OPEN
    unasked = ingress("sso", NGINX, {}, {PATH: "/.well-known/acme-challenge"})
    assert refused(unasked, policy=policy) == OPEN


def test_48_a_canary_of_an_authenticating_class_remains() -> None:
    """Its annotations are those of another Ingress, which may leave the global authentication."""
    parameters = {"authenticatingClasses": ["sso"]}
    policy = {"rules": {"no-open-ingress": {"parameters": parameters}}}
    assert refused(ingress("sso", NGINX, {"canary": "true"}), policy=policy) == set()


def test_48_a_route_of_openshift_for_enable_ingress_remains() -> None:
    """KubeRay creates it in place of the Ingress, and the router ignores nginx's annotations."""
    assert passes(with_enabled_ingress({"auth-url": URL}))


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-cache-duration": "200 202 5m;"},
        {"auth-cache-duration": "5m\n"},
        {"auth-cache-duration": "{5m}"},
        {"auth-request-redirect": "https://web.example/$request_uri"},
        {"auth-request-redirect": "https://web.example/#top"},
        {"auth-always-set-cookie": "yes"},
        {"auth-always-set-cookie": " true"},
        # The name of the caller without a password is no proof, and a constant is none either.
        {"auth-cache-key": "all"},
        {"auth-cache-key": "$remote_user"},
        {"auth-cache-key": "$host$http_user_agent"},
        {"auth-cache-key": "${http_x_forwarded_for}"},
        {"auth-cache-key": "$http_host"},
        {"auth-url": "https://$http_x/auth"},
        {"auth-url": "https://sso.example$http_x/auth"},
        {"auth-url": "https://$host/auth", "server-alias": "~^.*$"},
        # Some paths of an authentication service answer everybody.
        {"auth-url": "https://sso.example/$http_x"},
        {"auth-url": "https://sso.example/${arg_path}?a=b"},
        {"satisfy": " any ", "whitelist-source-range": "0.0.0.0/0"},
        {"ssl-passthrough": "true"},
        {"ssl-passthrough": "T"},
    ],
)
def test_49_settings_that_drop_auth_url(annotations: Object) -> None:
    assert refused(nginx({"auth-url": URL, **annotations})) == OPEN
    assert refused(with_enabled_ingress({"auth-url": URL, **annotations})) == OPEN


@pytest.mark.parametrize(
    "change",
    [
        {PATH: "/.well-known/acme-challenge"},
        {PATH: "/.well-known/acme-challenge(/|$)(.*)"},
        {PATH: "/.well-known/acme-challenges"},
    ],
)
def test_49_paths_without_authentication(change: Object) -> None:
    rewrite = {"use-regex": "true", "rewrite-target": "/$2"}
    assert refused(nginx({"auth-url": URL, **rewrite}, change)) == OPEN
    password = {"auth-type": "basic", "auth-secret": "users", **rewrite}
    assert refused(nginx(password, change)) == OPEN
    options = {"path": change[PATH]}
    assert refused(with_enabled_ingress({"auth-url": URL}, options)) == OPEN


def test_49_a_host_that_the_caller_chooses() -> None:
    annotations = {"auth-url": "https://$host/oauth2/auth"}
    assert passes(nginx(annotations))
    assert refused(nginx(annotations, {"/spec/rules/0/host": None})) == OPEN
    assert refused(nginx(annotations, DEFAULT_BACKEND)) == OPEN
    assert refused(with_enabled_ingress(annotations)) == OPEN
    assert passes(with_enabled_ingress(annotations, {"host": "ray.example"}))


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-cache-duration": "200 202 401 5m, 1h"},
        {"auth-cache-duration": " "},
        {"auth-request-redirect": "https://web.example/a?b=c&d=e"},
        {"auth-always-set-cookie": "true"},
        {"auth-always-set-cookie": ""},
        {"auth-cache-key": "$remote_user$http_authorization"},
        {"auth-cache-key": "${cookie__oauth2_proxy}"},
        {"auth-cache-key": "$http_x_tenant$http_cookie"},
        {"auth-url": "http://auth.sso.svc:8080$request_uri"},
        {"auth-url": "https://sso.example/auth?rd=$scheme://$http_host$request_uri"},
        {"auth-signin": "https://sso.example/start?rd=$escaped_request_uri"},
        {"satisfy": "all", "whitelist-source-range": "0.0.0.0/0"},
        {"enable-global-auth": "false"},
    ],
)
def test_49_valid_settings(annotations: Object) -> None:
    assert passes(nginx({"auth-url": URL, **annotations}))


@pytest.mark.parametrize(
    "annotations",
    [
        {"auth-url": " "},
        {"auth-url": "\n\t"},
        {"auth-tls-secret": " ", "force-ssl-redirect": "true"},
        {"auth-secret": " ", "auth-type": "basic"},
        {"auth-secret": "users", "auth-type": " "},
        {"auth-secret": "users", "auth-type": "none"},
        {"auth-signin": "https://sso.example/start"},
        {"whitelist-source-range": " "},
        {"auth-url": "", "auth-snippet": ""},
    ],
)
def test_50_blank_values(annotations: Object) -> None:
    assert refused(nginx(annotations)) == OPEN


CA = {"auth-tls-secret": "team-a/ca"}


@pytest.mark.parametrize(
    ("annotations", "change"),
    [
        ({}, {}),
        ({}, {"/spec/tls": [{"hosts": ["other.example"], "secretName": "t"}]}),
        ({"ssl-redirect": "false"}, TLS),
        ({"ssl-redirect": "F"}, TLS),
        # Port 80 of an alias, and of a name that no rule lists, redirects to nowhere.
        ({"server-alias": "*.example"}, TLS),
        ({}, {**TLS, "/spec/rules/0/host": None}),
        ({"auth-tls-verify-client": " off "}, TLS),
        ({"auth-tls-error-page": "/api/jobs/"}, TLS),
        ({"ssl-passthrough": "true"}, TLS),
        ({"force-ssl-redirect": "true"}, {PATH: "/.well-known/acme-challenge"}),
        # The controller sets up the CA of rules with paths, and of nothing else.
        (
            {"force-ssl-redirect": "true"},
            {**DEFAULT_BACKEND, "/spec/rules": [{"host": "web.example"}]},
        ),
        ({"force-ssl-redirect": "true"}, {**DEFAULT_BACKEND, "/spec/rules": None}),
        ({"force-ssl-redirect": "yes"}, {}),
    ],
)
def test_51_client_certificates_that_port_80_does_not_need(
    annotations: Object, change: Object
) -> None:
    assert refused(nginx({**CA, **annotations}, change)) == OPEN


@pytest.mark.parametrize(
    ("annotations", "change"),
    [
        ({}, TLS),
        ({}, {"/spec/tls": [{"hosts": ["*.example"], "secretName": "t"}]}),
        ({"force-ssl-redirect": "true"}, {}),
        ({"force-ssl-redirect": "true", "ssl-redirect": "false"}, {}),
        ({"auth-tls-error-page": "https://web.example/no-certificate"}, TLS),
        ({"auth-tls-verify-client": "on", "satisfy": "any"}, TLS),
        ({}, {**TLS, **DEFAULT_BACKEND}),
    ],
)
def test_51_client_certificates(annotations: Object, change: Object) -> None:
    assert passes(nginx({**CA, **annotations}, change))


def test_51_client_certificates_by_enable_ingress() -> None:
    assert refused(with_enabled_ingress(CA)) == OPEN
    assert refused(with_enabled_ingress(CA, {"host": "ray.example"})) == OPEN
    tls = {"host": "ray.example", "tls": [{"hosts": ["ray.example"], "secretName": "ray-tls"}]}
    assert passes(with_enabled_ingress(CA, tls))
    assert passes(with_enabled_ingress({**CA, "force-ssl-redirect": "true"}))


def test_51_a_secret_without_a_ca_remains() -> None:
    """RayWarden does not read Secrets, and without `ca.crt` nginx verifies nothing."""
    assert passes(nginx({"auth-tls-secret": "team-a/no-ca", "force-ssl-redirect": "true"}))
