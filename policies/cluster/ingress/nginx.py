"""What ingress-nginx does with its annotations.

Source: kubernetes/ingress-nginx 1.15.0, `internal/ingress/annotations` (`parser`, `authreq`,
`auth`, `authtls`, `ipallowlist`, `canary`, `satisfy`, `sslpassthrough`, `rewrite`),
`internal/ingress/controller/controller.go`, `rootfs/etc/nginx/template/nginx.tmpl` and
`rootfs/etc/nginx/lua/lua_ingress.lua`.

The controller drops an annotation group whose parser returns most kinds of error, and serves the
Ingress without it (`Extractor.Extract`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policies.cluster.ingress.controller import Controller, IngressView, Method, Need
from policies.cluster.ingress.grammar import are_few_networks, parse_bool
from policies.documents.untyped import as_dict, as_str, dict_items, str_items

PREFIX = "nginx.ingress.kubernetes.io"
# `auth-cache-duration` (`ExtendedCharsRegex`) and `auth-request-redirect` (`URLIsValidRegex`). An
# error in these two or in `auth-always-set-cookie` drops the whole group of `auth-url`.
_DURATIONS = re.compile(r"[-._~a-zA-Z0-9/:, ]*")
_REDIRECT = re.compile(r"[-._~a-zA-Z0-9/:,?&=]*")
# The default of `no-auth-locations` and of `no-tls-redirect-locations` in the ConfigMap.
_WITHOUT_AUTH = "/.well-known/acme-challenge"
# Verification that lets callers without a certificate pass. Any other value means "on".
_UNVERIFIED = ("off", "optional", "optional_no_ca")
# A variable that contains what the caller proves to know. With a key of other things, the cached
# success of one caller counts for others.
_CREDENTIALS = re.compile(r"\$\{?(?:http_(?:authorization|cookie)\b|cookie_)", re.IGNORECASE)
# Variables that start with "/", so they end the host of a URL.
_PATH = re.compile(r"\$\{(?:request_uri|document_uri|uri)\}|\$(?:request_uri|document_uri|uri)\b")
_AUTHORITY = re.compile(r"[^/]{0,64}//([^/?#]{0,300})")
# Variables that the caller chooses, except for the host.
_OF_THE_CALLER = re.compile(
    r"\$\{?(?:http_(?!host\b)\w|arg_|cookie_|args\b|query_string\b)", re.IGNORECASE
)
# Variables with the host that the caller asked for.
_HOST_OF_THE_CALLER = frozenset({"$host", "${host}", "$http_host", "${http_host}"})


def authority_of(url: str) -> str:
    """The host and port of a URL; a variable among them stays as it is written."""
    authority = _AUTHORITY.match(url)
    return _PATH.split(authority[1], maxsplit=1)[0] if authority else ""


def _has_auth_url(ingress: IngressView) -> bool:
    return bool(ingress.value("auth-url").strip())


def _has_password(ingress: IngressView) -> bool:
    # If the Secret does not exist, the controller denies all requests.
    has_secret = bool(ingress.value("auth-secret").strip())
    return has_secret and ingress.value("auth-type").strip() in ("basic", "digest")


def _has_client_ca(ingress: IngressView) -> bool:
    return bool(ingress.value("auth-tls-secret").strip())


def _networks(ingress: IngressView) -> str:
    return ingress.first_value("allowlist-source-range", "whitelist-source-range")


def _url_is_fixed(ingress: IngressView) -> bool:
    """The caller does not choose the host and the path of `auth-url`.

    The name that the caller asked for is fixed if the Ingress serves only names it lists.
    """
    url = ingress.value("auth-url").strip()
    authority = authority_of(url)
    if _OF_THE_CALLER.search(url.partition("?")[0]):
        return False
    if "$" not in authority:
        return True
    if authority not in _HOST_OF_THE_CALLER or ingress.value("server-alias"):
        return False
    return not ingress.has_default_backend and all(rule.get("host") for rule in ingress.rules)


def _cache_key_has_credentials(ingress: IngressView) -> bool:
    key = ingress.value("auth-cache-key").strip()
    return not key or bool(_CREDENTIALS.search(key))


def _has_authenticated_paths(ingress: IngressView) -> bool:
    return not any(path.startswith(_WITHOUT_AUTH) for path in _paths(ingress))


def _paths(ingress: IngressView) -> Iterator[str]:
    for rule in ingress.rules:
        for _, path in dict_items(as_dict(rule.get("http")).get("paths")):
            yield as_str(path.get("path"))


def _only_hosts_with_paths(ingress: IngressView) -> bool:
    """Every backend belongs to a rule with paths; the controller sets up no CA for others."""
    if not ingress.has_default_backend:
        return True
    return bool(ingress.rules) and all(as_dict(rule.get("http")) for rule in ingress.rules)


def _redirects_to_https(ingress: IngressView) -> bool:
    """No request comes through port 80, where the controller verifies no certificate."""
    if parse_bool(ingress.value("force-ssl-redirect")) is True:
        return True
    # An alias has a certificate only if that certificate names it.
    if parse_bool(ingress.value("ssl-redirect")) is False or ingress.value("server-alias"):
        return False
    certified: set[str] = set()
    for _, tls in dict_items(ingress.spec.get("tls")):
        certified.update(host.lower() for _, host in str_items(tls.get("hosts")))
    return bool(ingress.rules) and all(_is_certified(rule, certified) for rule in ingress.rules)


def _is_certified(rule: Mapping[str, Any], certified: set[str]) -> bool:
    """`spec.tls` lists the host, or a wildcard that contains it."""
    host = as_str(rule.get("host")).lower()
    return bool(host) and (host in certified or f"*.{host.partition('.')[2]}" in certified)


def _passes_tls_through(ingress: IngressView) -> bool:
    """TLS goes to the pods; port 80 has no certificate to show them."""
    passthrough = parse_bool(ingress.value("ssl-passthrough")) is True
    return passthrough and not ingress.value("proxy-ssl-secret")


def _without(name: str, reason: str, is_met: Callable[[IngressView], bool]) -> Need:
    return Need(is_met, f"remove {PREFIX}/{name}, {reason}")


_NO_CANARY = _without(
    "canary",
    "because the controller ignores the authentication of a canary",
    lambda ingress: parse_bool(ingress.value("canary")) is not True,
)
_NO_PASSTHROUGH = _without(
    "ssl-passthrough",
    "because it sends TLS past the authentication of the controller",
    lambda ingress: parse_bool(ingress.value("ssl-passthrough")) is not True,
)
_AUTHENTICATED_PATHS = Need(
    _has_authenticated_paths,
    f"use another path than {_WITHOUT_AUTH}, where the controller does not authenticate",
)
# The controller then accepts a request that passes the password or the list of networks.
_ALL_CHECKS = _without(
    "satisfy",
    "because one check alone is then enough",
    lambda ingress: ingress.value("satisfy").strip() != "any",
)
# What exempts an Ingress from the `global-auth-url` of its controller.
GLOBAL_AUTH = (
    _without(
        "enable-global-auth",
        "because it turns the authentication of the controller off",
        lambda ingress: parse_bool(ingress.value("enable-global-auth")) is not False,
    ),
    _AUTHENTICATED_PATHS,
)
_EVERYWHERE = (_NO_CANARY, _NO_PASSTHROUGH)
_INVALID = "whose value is invalid, so the controller drops auth-url"

_AUTH_URL = Method(
    _has_auth_url,
    (
        *_EVERYWHERE,
        _AUTHENTICATED_PATHS,
        _ALL_CHECKS,
        Need(
            _url_is_fixed,
            f"write the host and path of the authentication service into {PREFIX}/auth-url, "
            "because callers choose the value of the variable that is there",
        ),
        _without(
            "auth-cache-key",
            "or add $http_authorization or $http_cookie to it, because callers without credentials "
            "share the cached success of others",
            _cache_key_has_credentials,
        ),
        _without(
            "auth-cache-duration",
            _INVALID,
            lambda ingress: bool(_DURATIONS.fullmatch(ingress.value("auth-cache-duration"))),
        ),
        _without(
            "auth-request-redirect",
            _INVALID,
            lambda ingress: bool(
                _REDIRECT.fullmatch(ingress.value("auth-request-redirect").replace(" ", ""))
            ),
        ),
        _without(
            "auth-always-set-cookie",
            _INVALID,
            lambda ingress: (
                not ingress.value("auth-always-set-cookie")
                or parse_bool(ingress.value("auth-always-set-cookie")) is not None
            ),
        ),
    ),
)
_PASSWORD = Method(_has_password, (*_EVERYWHERE, _AUTHENTICATED_PATHS, _ALL_CHECKS))
_CLIENT_CERTIFICATE = Method(
    _has_client_ca,
    (
        *_EVERYWHERE,
        _AUTHENTICATED_PATHS,
        _without(
            "auth-tls-verify-client",
            "because it lets callers without a valid certificate pass",
            lambda ingress: ingress.value("auth-tls-verify-client").strip() not in _UNVERIFIED,
        ),
        # An internal redirect reaches the backend without another verification.
        _without(
            "auth-tls-error-page",
            "because it sends callers without a valid certificate to a path of the same host",
            lambda ingress: not ingress.value("auth-tls-error-page").strip().startswith(("/", "@")),
        ),
        Need(
            _only_hosts_with_paths,
            "add a rule with a path instead of the default backend, because the controller "
            "verifies client certificates only there",
        ),
        Need(
            _redirects_to_https,
            f'set the annotation {PREFIX}/force-ssl-redirect to "true", because the controller '
            "asks for no client certificate on port 80",
        ),
    ),
)
_NETWORKS = Method(
    lambda ingress: bool(_networks(ingress)),
    (
        *_EVERYWHERE,
        Need(
            lambda ingress: are_few_networks(
                part.strip() for part in _networks(ingress).split(",")
            ),
            f"list only few networks in {PREFIX}/allowlist-source-range, with commas between them",
        ),
    ),
)

NGINX = Controller(
    # Azure runs this controller under the first name.
    classes=("webapprouting", "nginx"),
    prefixes=(PREFIX,),
    methods=(_AUTH_URL, _PASSWORD, _CLIENT_CERTIFICATE, _NETWORKS),
    suggestion=f"{PREFIX}/auth-url: URL",
    passes_tls_through=_passes_tls_through,
)
