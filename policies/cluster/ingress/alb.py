"""What the AWS Load Balancer Controller does with its annotations.

Source: kubernetes-sigs/aws-load-balancer-controller 3.5.0, `pkg/annotations/parser.go` and
`pkg/ingress` (`auth_config_builder.go`, `enhanced_backend_builder.go`, `model_build_actions.go`,
`model_build_frontend_nlb.go`, `model_build_listener.go`, `model_build_load_balancer.go`,
`model_build_load_balancer_attributes.go`, `model_builder.go`).

The Ingresses of a group share a load balancer. None of them can contradict a value that another
states, but each can add what no other states.

What only an administrator can write is not known here: the IngressClassParams of a class take
precedence over `scheme`, the other annotations of the load balancer and `group.name`. A
GlobalAccelerator object of the same controller, or AWS itself, can make an internal load balancer
public.

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
from policies.cluster.ingress.grammar import are_few_networks, parse_bool, split

PREFIX = "alb.ingress.kubernetes.io"
_PORT = re.compile(r"\+?[0-9]{1,5}")
_AUTHENTICATING = ("oidc", "cognito")
# What the load balancer does with callers who are not logged in, other than letting them pass.
_STOPS_CALLERS = ("", "authenticate", "deny")
# An attribute of load balancers; AWS sets it to true for internal ones.
_BLOCKS_GATEWAYS = "ipv6.deny_all_igw_traffic"


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


def _is_internal(ingress: IngressView) -> bool:
    return ingress.value("scheme") == "internal"


def _has_no_public_frontend(ingress: IngressView) -> bool:
    """No network load balancer with a public address stands in front of the internal one."""
    return (
        ingress.value("frontend-nlb-scheme") == "internal"
        or parse_bool(ingress.value("enable-frontend-nlb")) is False
        or not ("enable-frontend-nlb" in ingress.annotations or _is_shared(ingress))
    )


def _blocks_internet_gateways(ingress: IngressView) -> bool:
    """IPv6 addresses are public; AWS blocks the traffic of internet gateways unless told not to."""
    attributes = ingress.value("load-balancer-attributes")
    parts = (part.partition("=") for part in attributes.lower().split(","))
    values = [value.strip() for name, _, value in parts if name.strip() == _BLOCKS_GATEWAYS]
    # A backslash can hide a name, or a comma that separates nothing.
    if "\\" in attributes or any(value != "true" for value in values):
        return False
    return bool(values) or ingress.value("ip-address-type") == "ipv4" or not _is_shared(ingress)


def _is_shared(ingress: IngressView) -> bool:
    """Other Ingresses have annotations for the same load balancer."""
    return "group.name" in ingress.annotations


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

_INTERNAL = Method(
    _is_internal,
    (
        Need(
            _has_no_public_frontend,
            f'set the annotation {PREFIX}/enable-frontend-nlb to "false", because a network load '
            "balancer in front of an internal one can be public",
        ),
        Need(
            _blocks_internet_gateways,
            f"set the annotation {PREFIX}/ip-address-type to ipv4 and remove {_BLOCKS_GATEWAYS} "
            "from load-balancer-attributes, because the load balancer can otherwise be reached by "
            "its public IPv6 addresses",
        ),
    ),
)

ALB = Controller(
    classes=("alb",),
    prefixes=(PREFIX,),
    methods=(_LOGIN, _NETWORKS, _INTERNAL),
    suggestion=(
        f'{PREFIX}/auth-type: oidc with auth-idp-oidc and listen-ports: [{{"HTTPS": 443}}] (or '
        f"{PREFIX}/scheme: internal for an internal load balancer)"
    ),
    # For a backend that is a single Service, the Service's annotations take precedence.
    service_overrides=(
        ServiceOverride(f"{PREFIX}/auth-type", lambda value: value in _AUTHENTICATING),
        ServiceOverride(
            f"{PREFIX}/auth-on-unauthenticated-request", lambda value: value in _STOPS_CALLERS
        ),
    ),
)
