"""How an Ingress says that it asks who is there, in the words of the controllers that read it.

Sources: documentation of ingress-nginx, AWS Load Balancer Controller, HAProxy's and the community's HAProxy ingress.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.cluster.exposure import lets_in_few
from policies.documents.untyped import as_str

_ANY: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AuthAnnotation:
    """An annotation with one of `values` (any, where there are none) turns authentication on, unless `undone`."""

    annotation: str
    values: tuple[str, ...] = _ANY
    undone: tuple[str, tuple[str, ...]] = ("", _ANY)

    def holds(self, annotations: Mapping[str, Any]) -> bool:
        value = as_str(annotations.get(self.annotation))
        other, undoing = self.undone
        on = value in self.values if self.values else bool(value)
        return on and as_str(annotations.get(other)) not in undoing


_NGINX = "nginx.ingress.kubernetes.io"
_ALB = "alb.ingress.kubernetes.io"
_HAPROXY = "haproxy-ingress.github.io"
_HAPROXY_TECHNOLOGIES = "haproxy.org"
# Whose annotations a controller reads, by a part of its class' name; some read none that we know.
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
_LONGEST_CLASS = 253
ROUTE_ANNOTATIONS = ("haproxy.router.openshift.io",)
ASKING = (
    AuthAnnotation(f"{_NGINX}/auth-url"),
    # Without a type ingress-nginx passes over the Secret (`auth.Parse`).
    AuthAnnotation(f"{_NGINX}/auth-secret", undone=(f"{_NGINX}/auth-type", ("",))),
    AuthAnnotation(
        f"{_NGINX}/auth-tls-secret",
        undone=(f"{_NGINX}/auth-tls-verify-client", ("off", "optional", "optional_no_ca")),
    ),
    AuthAnnotation(
        f"{_ALB}/auth-type",
        ("oidc", "cognito"),
        (f"{_ALB}/auth-on-unauthenticated-request", ("allow",)),
    ),
    AuthAnnotation(f"{_HAPROXY}/auth-url"),
    AuthAnnotation(f"{_HAPROXY}/auth-secret"),
    AuthAnnotation(f"{_HAPROXY}/oauth"),
    AuthAnnotation(f"{_HAPROXY_TECHNOLOGIES}/auth-type", ("basic-auth",)),
)
# Lists of networks that are let in; few of them are as good as asking.
_NETWORKS = (
    f"{_NGINX}/whitelist-source-range",
    f"{_NGINX}/allowlist-source-range",
    f"{_ALB}/inbound-cidrs",
    f"{_HAPROXY}/allowlist-source-range",
    f"{ROUTE_ANNOTATIONS[0]}/ip_whitelist",
    f"{ROUTE_ANNOTATIONS[0]}/ip_allowlist",
)
# Configuration in words of the controller's own: whoever writes it can turn off all that the others turn on.
_SNIPPETS = (
    "-snippet",
    "-snippets",
    "/config-backend",
    "/config-frontend",
    "/backend-config-snippet",
)


def read_by(ingress_class: str) -> tuple[str, ...] | None:
    """Prefixes of the annotations that the controller of an Ingress class reads; None where that is not known."""
    # No class has a longer name.
    name = ingress_class[:_LONGEST_CLASS].lower()
    return next((prefixes for part, prefixes in _READ_BY.items() if part in name), None)


def authenticates(annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None) -> bool:
    """The controller, which reads annotations with these prefixes, will ask who is there, or let in few networks."""
    heard = _heard(annotations, prefixes)
    if heard.get(f"{_NGINX}/satisfy") == "any":
        # Either is enough then: a list of everyone's networks beside a password is no password.
        return _lets_in_few(heard)
    return any(asking.holds(heard) for asking in ASKING) or _lets_in_few(heard)


def suggestions(prefixes: tuple[str, ...] | None) -> list[str]:
    """What an author may write to have a controller ask, one annotation for each that could be meant."""
    first: dict[str, str] = {}
    for asking in ASKING:
        prefix = asking.annotation.partition("/")[0]
        first.setdefault(
            prefix, f"{asking.annotation}: {asking.values[0] if asking.values else 'URL'}"
        )
    return [words for prefix, words in first.items() if prefixes is None or prefix in prefixes]


def _heard(annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None) -> Mapping[str, Any]:
    return {
        name: value
        for name, value in annotations.items()
        if prefixes is None or name.partition("/")[0] in prefixes
    }


def undoing(annotations: Mapping[str, Any], prefixes: tuple[str, ...] | None) -> list[str]:
    """The annotations that turn off again what others among them turn on."""
    annotations = _heard(annotations, prefixes)
    undone = [
        asking.undone[0]
        for asking in ASKING
        if asking.annotation in annotations and not asking.holds(annotations)
    ]
    either = f"{_NGINX}/satisfy"
    return [
        name
        for name in (*undone, either)
        if name in annotations and (name != either or annotations[name] == "any")
    ]


def snippets(annotations: Mapping[str, Any]) -> list[str]:
    """The annotations that hold configuration in the controller's own language."""
    return [name for name in annotations if name.endswith(_SNIPPETS)]


def _lets_in_few(annotations: Mapping[str, Any]) -> bool:
    listed = [
        one for name in _NETWORKS for one in as_str(annotations.get(name)).replace(",", " ").split()
    ]
    return lets_in_few(listed)
