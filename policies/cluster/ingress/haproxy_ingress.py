"""What the community's HAProxy Ingress does with its annotations.

Source: jcmoraisjr/haproxy-ingress 0.17.0-alpha.2 (the checks of 0.13 and 0.14 are the same),
`pkg/converters/ingress/ingress.go` and `pkg/converters/ingress/annotations`.
"""

from collections.abc import Callable

from policies.cluster.ingress.controller import (
    ONE_PREFIX,
    Controller,
    IngressView,
    Method,
    Need,
    ServiceOverride,
)
from policies.cluster.ingress.grammar import are_few_networks, parse_bool, split

PREFIX = "haproxy-ingress.github.io"
_PREFIXES = (PREFIX, "ingress.kubernetes.io")
_OAUTH = ("oauth2_proxy", "oauth2-proxy")
# The controller ignores `auth-url` with any other placement.
_PLACEMENTS = ("backend", "frontend")


def _has_auth_url(ingress: IngressView) -> bool:
    # The controller denies all requests if it cannot use the URL.
    return bool(ingress.value("auth-url").strip())


def _is_placed(ingress: IngressView) -> bool:
    return ingress.annotations.get("auth-external-placement", "backend").lower() in _PLACEMENTS


def _networks(ingress: IngressView) -> str:
    return ingress.first_value("allowlist-source-range", "whitelist-source-range")


def _are_few(value: str) -> bool:
    """The list accepts few networks. The controller skips networks that it cannot parse.

    "!" stands before a network that is not accepted.
    """
    accepted = [network for network in split(value) if not network.startswith("!")]
    return are_few_networks(accepted)


def _without(name: str, reason: str, is_met: Callable[[IngressView], bool]) -> Need:
    return Need(is_met, f"remove {PREFIX}/{name}, {reason}")


_NO_PASSTHROUGH = _without(
    "ssl-passthrough",
    "because it sends TLS past the authentication of the controller",
    lambda ingress: parse_bool(ingress.value("ssl-passthrough")) is not True,
)
_HTTP = _without(
    "tcp-service-port",
    "because the controller does not authenticate TCP",
    lambda ingress: "tcp-service-port" not in ingress.annotations,
)
_OVER_HTTP = (ONE_PREFIX, _HTTP, _NO_PASSTHROUGH)
_AUTH_URL = Method(
    _has_auth_url,
    (
        *_OVER_HTTP,
        _without(
            "auth-external-placement",
            "whose value is invalid, so the controller ignores auth-url",
            _is_placed,
        ),
    ),
)
_OAUTH_PROXY = Method(
    lambda ingress: ingress.value("oauth") in _OAUTH,
    (
        *_OVER_HTTP,
        _without(
            "auth-url",
            "because it has precedence over oauth",
            lambda ingress: not ingress.value("auth-url"),
        ),
    ),
)
# RayWarden does not read Secrets, and the controller serves Ray without a password if the Secret
# does not exist (`buildBackendAuthHTTP`).
_PASSWORD = Method(
    lambda ingress: bool(ingress.value("auth-secret").strip()),
    (
        Need(
            lambda ingress: False,
            f"use {PREFIX}/auth-url instead of auth-secret, because the controller asks for no "
            "password if the Secret does not exist; if it exists, the administrator can list "
            f"{PREFIX}/auth-secret in authenticatingAnnotations",
        ),
    ),
)
_NETWORKS = Method(
    lambda ingress: bool(_networks(ingress)),
    (
        ONE_PREFIX,
        Need(
            lambda ingress: _are_few(_networks(ingress)),
            f"list only few networks in {PREFIX}/allowlist-source-range, with commas between them",
        ),
        _without(
            "allowlist-source-header",
            "because callers choose the value of the header",
            lambda ingress: not ingress.value("allowlist-source-header"),
        ),
    ),
)

HAPROXY_INGRESS = Controller(
    classes=("haproxy",),
    prefixes=_PREFIXES,
    methods=(_AUTH_URL, _OAUTH_PROXY, _NETWORKS, _PASSWORD),
    suggestion=f"{PREFIX}/auth-url: URL",
    # The path "/" then has no other listener than TLS, unless ssl-passthrough-http-port names one.
    passes_tls_through=lambda ingress: (
        parse_bool(ingress.value("ssl-passthrough")) is True
        and not ingress.conflicting
        and not {"ssl-passthrough-http-port", "tcp-service-port", "secure-crt-secret"}
        & ingress.annotations.keys()
    ),
    # `addBackend` reads the annotations of the Service first.
    service_overrides=tuple(
        ServiceOverride(f"{prefix}/{name}", is_safe)
        for prefix in _PREFIXES
        for name, is_safe in (
            ("auth-url", lambda value: bool(value.strip())),
            ("auth-external-placement", lambda value: value.lower() in _PLACEMENTS),
            ("allowlist-source-range", _are_few),
            ("whitelist-source-range", _are_few),
            ("allowlist-source-header", lambda value: not value),
            ("oauth", lambda value: value in _OAUTH),
            # Configuration in HAProxy's own language.
            ("config-backend", lambda value: not value),
            ("config-backend-early", lambda value: not value),
            ("config-backend-late", lambda value: not value),
        )
    ),
)
