"""What the Ingress controller of HAProxy Technologies does with its annotations.

Source: haproxytech/kubernetes-ingress 3.2, `pkg/annotations/ingress`, `pkg/ingress/ingress.go`,
`pkg/store/convert.go` and `pkg/route/route.go`.
"""

from policies.cluster.ingress.controller import (
    ONE_PREFIX,
    Controller,
    IngressView,
    Method,
    Need,
    ServiceOverride,
)
from policies.cluster.ingress.grammar import are_few_networks, parse_bool

PREFIX = "haproxy.org"
# The controller removes these prefixes, in no particular order, and also reads annotations that
# have none (`cleanAnnotation`).
_PREFIXES = (PREFIX, "haproxy.com", "ingress.kubernetes.io", "")


def _has_password(ingress: IngressView) -> bool:
    # If the Secret does not exist, no password is right.
    return ingress.value("auth-type") == "basic-auth"


def _networks(ingress: IngressView) -> str:
    return ingress.first_value("allow-list", "whitelist")


_EVERYWHERE = (
    ONE_PREFIX,
    Need(
        lambda ingress: not ingress.has_default_backend,
        "add a rule with a path instead of the default backend, which the controller serves "
        "without the checks of the annotations",
    ),
    Need(
        lambda ingress: parse_bool(ingress.value("ssl-passthrough")) is not True,
        f"remove {PREFIX}/ssl-passthrough, because it sends TLS past the authentication of the "
        "controller",
    ),
)
_FEW_NETWORKS = Need(
    lambda ingress: are_few_networks(part.strip() for part in _networks(ingress).split(",")),
    f"list only few networks in {PREFIX}/allow-list, with commas between them",
)
_NO_SOURCE_HEADER = Need(
    lambda ingress: not ingress.value("src-ip-header"),
    f"remove {PREFIX}/src-ip-header, because callers choose the value of the header",
)

HAPROXY_TECHNOLOGIES = Controller(
    classes=("haproxy",),
    prefixes=_PREFIXES,
    methods=(
        Method(_has_password, _EVERYWHERE),
        Method(
            lambda ingress: bool(_networks(ingress)),
            (*_EVERYWHERE, _FEW_NETWORKS, _NO_SOURCE_HEADER),
        ),
    ),
    suggestion=f"{PREFIX}/auth-type: basic-auth with auth-secret",
    passes_tls_through=lambda ingress: (
        ingress.value("ssl-passthrough") == "true"
        and not ingress.conflicting
        and not ingress.has_default_backend
        and not ingress.value("server-crt")
    ),
    # A route by `route-acl` is not subject to the rules of the Ingress (`AddCustomRoute`). The
    # other is configuration in HAProxy's own language.
    service_overrides=tuple(
        ServiceOverride(f"{prefix}/{name}", lambda value: not value)
        for prefix in _PREFIXES
        if prefix
        for name in ("route-acl", "backend-config-snippet")
    ),
)
