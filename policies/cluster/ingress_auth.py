"""Which annotations make an Ingress controller authenticate, or accept only some networks.

Sources: documentation of ingress-nginx, AWS Load Balancer Controller, HAProxy Technologies' and
the community's HAProxy ingress.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.cluster.addresses import has_few_addresses
from policies.documents.untyped import as_str


@dataclass(frozen=True, slots=True)
class AuthAnnotation:
    """An annotation that turns authentication on.

    It does so with one of `values`, or with any non-empty value if `values` is empty. It does not
    if the annotation `disabled_by` has one of `disabling_values`; a missing annotation reads as "".
    """

    annotation: str
    values: tuple[str, ...] = ()
    disabled_by: str = ""
    disabling_values: tuple[str, ...] = ()

    def is_on(self, annotations: Mapping[str, Any]) -> bool:
        value = as_str(annotations.get(self.annotation))
        enabled = value in self.values if self.values else bool(value)
        return enabled and as_str(annotations.get(self.disabled_by)) not in self.disabling_values


_NGINX = "nginx.ingress.kubernetes.io"
_ALB = "alb.ingress.kubernetes.io"
_HAPROXY = "haproxy-ingress.github.io"
_HAPROXY_TECHNOLOGIES = "haproxy.org"
# The prefixes of the annotations that a controller reads, by a part of the name of its Ingress
# class. The controllers without prefixes do not read any of the annotations known here.
_READ_BY = {
    # The nginx that Azure runs.
    "webapprouting": (_NGINX,),
    "nginx": (_NGINX,),
    "alb": (_ALB,),
    "haproxy": (_HAPROXY, _HAPROXY_TECHNOLOGIES),
    **dict.fromkeys(
        ("traefik", "gce", "azure", "istio", "kong", "contour", "cilium", "apisix"), ()
    ),
}
# Kubernetes allows no longer name.
_LONGEST_CLASS = 253
ROUTE_ANNOTATIONS = ("haproxy.router.openshift.io",)
_AUTH_ANNOTATIONS = (
    AuthAnnotation(f"{_NGINX}/auth-url"),
    # Without a type, ingress-nginx ignores the Secret (`auth.Parse`).
    AuthAnnotation(
        f"{_NGINX}/auth-secret",
        disabled_by=f"{_NGINX}/auth-type",
        disabling_values=("",),
    ),
    AuthAnnotation(
        f"{_NGINX}/auth-tls-secret",
        disabled_by=f"{_NGINX}/auth-tls-verify-client",
        disabling_values=("off", "optional", "optional_no_ca"),
    ),
    AuthAnnotation(
        f"{_ALB}/auth-type",
        values=("oidc", "cognito"),
        disabled_by=f"{_ALB}/auth-on-unauthenticated-request",
        disabling_values=("allow",),
    ),
    AuthAnnotation(f"{_HAPROXY}/auth-url"),
    AuthAnnotation(f"{_HAPROXY}/auth-secret"),
    AuthAnnotation(f"{_HAPROXY}/oauth"),
    AuthAnnotation(f"{_HAPROXY_TECHNOLOGIES}/auth-type", values=("basic-auth",)),
)
# With "any", ingress-nginx accepts a request that passes the password or the list of networks.
_SATISFY = f"{_NGINX}/satisfy"
# Lists of accepted networks. A short list counts as much as authentication.
_NETWORKS = (
    f"{_NGINX}/whitelist-source-range",
    f"{_NGINX}/allowlist-source-range",
    f"{_ALB}/inbound-cidrs",
    f"{_HAPROXY}/allowlist-source-range",
    f"{ROUTE_ANNOTATIONS[0]}/ip_whitelist",
    f"{ROUTE_ANNOTATIONS[0]}/ip_allowlist",
)
# Configuration in the controller's own language, which can turn off whatever the other
# annotations turn on.
_SNIPPETS = (
    "-snippet",
    "-snippets",
    "/config-backend",
    "/config-frontend",
    "/backend-config-snippet",
)


def annotation_prefixes(ingress_class: str) -> tuple[str, ...] | None:
    """Prefixes of the annotations that the controller of an Ingress class reads.

    None if the controller is unknown.
    """
    name = ingress_class[:_LONGEST_CLASS].lower()
    return next((prefixes for part, prefixes in _READ_BY.items() if part in name), None)


def authenticates(annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None) -> bool:
    """True if a controller that reads these prefixes authenticates or accepts few networks.

    None as `prefixes` means that any annotation may be read.
    """
    effective = _with_prefix(annotations, prefixes)
    # A list of networks is then enough without the password, so the list alone decides: one that
    # contains everyone's addresses makes the password worthless.
    if effective.get(_SATISFY) == "any":
        return _accepts_few_networks(effective)
    if any(auth.is_on(effective) for auth in _AUTH_ANNOTATIONS):
        return True
    return _accepts_few_networks(effective)


def suggestions(prefixes: tuple[str, ...] | None) -> list[str]:
    """An annotation that turns authentication on, for each controller that may be meant."""
    by_prefix: dict[str, str] = {}
    for auth in _AUTH_ANNOTATIONS:
        prefix = auth.annotation.partition("/")[0]
        value = auth.values[0] if auth.values else "URL"
        by_prefix.setdefault(prefix, f"{auth.annotation}: {value}")
    return [text for prefix, text in by_prefix.items() if prefixes is None or prefix in prefixes]


def disabling_annotations(
    annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None
) -> list[str]:
    """The annotations that turn off the authentication that other annotations turn on."""
    effective = _with_prefix(annotations, prefixes)
    names = []
    for auth in _AUTH_ANNOTATIONS:
        is_disabled = auth.annotation in effective and not auth.is_on(effective)
        if is_disabled and auth.disabled_by in effective:
            names.append(auth.disabled_by)
    if effective.get(_SATISFY) == "any":
        names.append(_SATISFY)
    return names


def snippet_annotations(annotations: Mapping[str, Any]) -> list[str]:
    """The annotations that hold configuration in the controller's own language."""
    return [name for name in annotations if name.endswith(_SNIPPETS)]


def _with_prefix(
    annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None
) -> Mapping[str, Any]:
    """The annotations with one of `prefixes`; all annotations for None."""
    if prefixes is None:
        return annotations
    return {
        name: value for name, value in annotations.items() if name.partition("/")[0] in prefixes
    }


def _accepts_few_networks(annotations: Mapping[str, Any]) -> bool:
    ranges: list[str] = []
    for name in _NETWORKS:
        ranges += as_str(annotations.get(name)).replace(",", " ").split()
    return has_few_addresses(ranges)
