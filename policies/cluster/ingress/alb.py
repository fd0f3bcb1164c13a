"""What the AWS Load Balancer Controller does with its annotations.

Source: kubernetes-sigs/aws-load-balancer-controller 3.5.0, `pkg/annotations/parser.go` and
`pkg/ingress` (`auth_config_builder.go`, `enhanced_backend_builder.go`, `model_build_actions.go`,
`model_build_listener.go`, `model_build_load_balancer.go`, `model_builder.go`).

`jwt-validation` and `mutual-authentication` are not in the table: older versions of the controller
ignore them. An administrator can list them in `authenticatingAnnotations`.
"""

import json
import re
from typing import Any

from policies.cluster.ingress.controller import (
    Controller,
    IngressView,
    Method,
    Need,
    ServiceOverride,
)
from policies.cluster.ingress.grammar import are_few_networks, split

PREFIX = "alb.ingress.kubernetes.io"
_PORT = re.compile(r"\+?[0-9]{1,5}")
_AUTHENTICATING = ("oidc", "cognito")
# What the load balancer does with callers who are not logged in, other than letting them pass.
_STOPS_CALLERS = ("", "authenticate", "deny")


def _listeners(ingress: IngressView) -> list[tuple[str, int]]:
    """The protocol and port of each listener; the protocol is "" where it cannot be read."""
    if "listen-ports" not in ingress.annotations:
        # An IngressClass can also have certificates; that is not known here.
        has_certificate = split(ingress.value("certificate-arn"))
        return [("HTTPS", 443)] if has_certificate else [("HTTP", 80)]
    listeners: list[tuple[str, int]] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        for protocol, port in pairs:
            known = isinstance(port, int) and not isinstance(port, bool)
            listeners.append((protocol, port) if known else ("", 0))

    try:
        json.loads(ingress.value("listen-ports"), object_pairs_hook=collect)
    except (ValueError, RecursionError):
        return [("", 0)]
    return listeners or [("", 0)]


def _has_login(ingress: IngressView) -> bool:
    return ingress.value("auth-type") in _AUTHENTICATING


def _authenticates_on_all_listeners(ingress: IngressView) -> bool:
    """All listeners are HTTPS, or those with HTTP redirect to one that is."""
    listeners = _listeners(ingress)
    https = {port for protocol, port in listeners if protocol == "HTTPS"}
    if len(https) == len({port for _, port in listeners}):
        return all(protocol == "HTTPS" for protocol, _ in listeners)
    redirect = ingress.value("ssl-redirect")
    known = all(protocol in ("HTTP", "HTTPS") for protocol, _ in listeners)
    return known and bool(_PORT.fullmatch(redirect)) and int(redirect) in https


def _has_networks(ingress: IngressView) -> bool:
    return bool(split(ingress.value("inbound-cidrs")))


def _without(name: str, reason: str) -> Need:
    return Need(
        lambda ingress: not split(ingress.value(name)),
        f"remove {PREFIX}/{name}, {reason}",
    )


_LOGIN = Method(
    _has_login,
    (
        Need(
            lambda ingress: ingress.value("auth-on-unauthenticated-request") in _STOPS_CALLERS,
            f"remove {PREFIX}/auth-on-unauthenticated-request, which turns authentication off",
        ),
        Need(
            _authenticates_on_all_listeners,
            f'set the annotation {PREFIX}/listen-ports to [{{"HTTPS": 443}}], because the '
            "controller authenticates on HTTPS listeners only and its default is HTTP; to keep an "
            f'HTTP listener, set {PREFIX}/ssl-redirect to "443" as well',
        ),
    ),
)
_NETWORKS = Method(
    _has_networks,
    (
        Need(
            lambda ingress: are_few_networks(split(ingress.value("inbound-cidrs"))),
            f"list only few networks in {PREFIX}/inbound-cidrs, with commas between them",
        ),
        _without("security-groups", "because the controller then ignores inbound-cidrs"),
        _without(
            "security-group-prefix-lists", "because the controller accepts these networks as well"
        ),
        _without(
            "group.name",
            "because any Ingress of the group can replace inbound-cidrs by security groups",
        ),
    ),
)

ALB = Controller(
    classes=("alb",),
    prefixes=(PREFIX,),
    methods=(_LOGIN, _NETWORKS),
    suggestion=f'{PREFIX}/auth-type: oidc with auth-idp-oidc and listen-ports: [{{"HTTPS": 443}}]',
    # For a backend that is a single Service, the Service's annotations take precedence.
    service_overrides=(
        ServiceOverride(f"{PREFIX}/auth-type", lambda value: value in _AUTHENTICATING),
        ServiceOverride(
            f"{PREFIX}/auth-on-unauthenticated-request", lambda value: value in _STOPS_CALLERS
        ),
    ),
)
