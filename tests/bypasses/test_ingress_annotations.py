"""Rows 46 to 53: annotations that look like authentication and leave an Ingress to Ray open."""

from typing import Any

import pytest

from tests.bypasses.admission import by_both, passes, refused
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster

OPEN = {"no-open-ingress"}
NGINX = "nginx.ingress.kubernetes.io"
ALB = "alb.ingress.kubernetes.io"
HAPROXY = "haproxy-ingress.github.io"
TECHNOLOGIES = "haproxy.org"
OPENSHIFT = "haproxy.router.openshift.io"
URL = "https://sso.example/auth"
BACKEND = {"service": {"name": "demo-head-svc", "port": {"number": 8265}}}
DEFAULT_BACKEND = {"/spec/defaultBackend": BACKEND}
PATH = "/spec/rules/0/http/paths/0/path"
TLS = {"/spec/tls": [{"hosts": ["web.example"], "secretName": "web-tls"}]}
HTTPS = '[{"HTTPS": 443}]'


def ingress(
    ingress_class: str, prefix: str, annotations: Object, change: Object | None = None
) -> Object:
    """An Ingress to the dashboard; `prefix` is added to the names of annotations without one."""
    full = {
        name if "/" in name or name.startswith("!") else f"{prefix}/{name}": value
        for name, value in annotations.items()
    }
    named = {name.removeprefix("!"): value for name, value in full.items()}
    edits = {
        "/spec/ingressClassName": ingress_class,
        "/metadata/annotations": named,
        "/spec/rules/0/http/paths/0/backend": BACKEND,
    }
    return changed(related_objects.ingress(), {**edits, **(change or {})})


def nginx(annotations: Object, change: Object | None = None) -> Object:
    return ingress("nginx", NGINX, annotations, change)


def alb(annotations: Object, change: Object | None = None) -> Object:
    return ingress("alb", ALB, annotations, change)


def haproxy(annotations: Object, change: Object | None = None) -> Object:
    return ingress("haproxy", HAPROXY, annotations, change)


def technologies(annotations: Object, change: Object | None = None) -> Object:
    return ingress("haproxy", TECHNOLOGIES, annotations, change)


def route(annotations: Object) -> Object:
    named = {f"{OPENSHIFT}/{name}": value for name, value in annotations.items()}
    change = {"/spec/to/name": "demo-head-svc", "/metadata/annotations": named}
    return changed(related_objects.route(), change)


def with_enabled_ingress(annotations: Object, options: Object | None = None) -> Object:
    """A RayCluster whose annotations KubeRay copies to the Ingress of its head."""
    full = {f"{NGINX}/{name}": value for name, value in annotations.items()}
    change = {
        "/spec/headGroupSpec/enableIngress": True,
        "/metadata/annotations": {"kubernetes.io/ingress.class": "nginx", **full},
        **({"/spec/headGroupSpec/ingressOptions": options} if options else {}),
    }
    return changed(ray_cluster(), change)


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


@pytest.mark.parametrize("value", ["", " ", "none"])
def test_50_blank_values_at_other_controllers(value: str) -> None:
    assert refused(haproxy({"oauth": value})) == OPEN
    assert refused(technologies({"auth-type": value, "auth-secret": "users"})) == OPEN
    assert refused(haproxy({"auth-url": value.replace("none", "")})) == OPEN


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
