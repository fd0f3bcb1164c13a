"""Checks of the webhook configurations: which server the API server calls, trusts and waits for."""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509

from certs.authority import serving_bundle as bundle_of
from certs.profile import EXPIRY_WARNING
from certs.seed import Seed, SeedError
from policies.documents.metadata import labels_of, name_of
from policies.documents.selectors import selects
from policies.documents.untyped import as_dict, as_str, dict_items
from webhook.check.deployment import ServerDeployment
from webhook.check.facts import (
    MUTATING,
    VALIDATING,
    CheckFacts,
    Object,
    Objects,
    Unavailable,
    or_empty,
)
from webhook.check.findings import Finding, Status, enumerated, failed, ok, unknown
from webhook.check.installation import APPLY
from webhook.ports import StoredSeed

_FAILURE_POLICY = {MUTATING: "Ignore", VALIDATING: "Fail"}
# It warns, and never refuses.
_CLIENTS = "clients.raywarden.io"
# kubectl and KubeRay wait this long for a server that hangs. 10 is also the API server's default.
_MAX_TIMEOUT_SECONDS = 10
_PUBLISH = (
    "look at /readyz and the server's logs: a ready server writes the caBundle within seconds; "
    "if the server may not write it, run raywarden ca publish"
)


class _Problem(NamedTuple):
    """What is wrong with a webhook; `message` continues a sentence that begins with its name."""

    status: Status
    message: str
    remediation: str


class _Expected(NamedTuple):
    """The right values for a webhook.

    `bundle` is the caBundle in PEM form, or None if it is not derived from a seed known here.
    """

    kind: str
    namespace: str
    service: str
    bundle: bytes | None
    now: datetime


def registration(facts: CheckFacts) -> Iterator[Finding]:
    """Both webhook configurations exist, and every webhook in them is correct."""
    for kind, configuration in facts.configurations.items():
        id, title = f"{kind}-configuration", f"the {kind} webhook configuration"
        if isinstance(configuration, Unavailable):
            yield unknown(id, title, configuration)
        elif configuration is None:
            message = f"{title} does not exist, so the API server does not call RayWarden"
            yield failed(id, message, f"run {APPLY}")
        elif not names_of(configuration):
            message = f"{title} has no webhooks, so the API server does not call RayWarden"
            yield failed(id, message, f"run {APPLY}")
        else:
            yield from _webhooks(facts, kind, configuration)


def _webhooks(facts: CheckFacts, kind: str, configuration: Object) -> Iterator[Finding]:
    names = enumerated(names_of(configuration))
    yield ok(f"{kind}-configuration", f"the {kind} webhook configuration has {names}")
    service = "raywarden"
    if isinstance(facts.deployment, ServerDeployment):
        service = facts.deployment.admission_service
    expected = _Expected(kind, facts.namespace, service, serving_bundle(facts), facts.now)
    for aspect in _ASPECTS:
        yield from _aspect(aspect, configuration, expected)


def _aspect(aspect: "_Aspect", configuration: Object, expected: _Expected) -> Iterator[Finding]:
    id = f"{expected.kind}-{aspect.id}"
    # Webhooks with the same problem share a finding.
    names_by_problem: dict[_Problem, list[str]] = {}
    for _, webhook in dict_items(configuration.get("webhooks")):
        problem = aspect.check(webhook, expected)
        if problem:
            names_by_problem.setdefault(problem, []).append(as_str(webhook.get("name")))
    for problem, names in names_by_problem.items():
        message = f"{expected.kind} webhook {enumerated(names)} {problem.message}"
        yield Finding(id, problem.status, message, problem.remediation)
    if not names_by_problem:
        yield ok(id, aspect.good(expected))


def names_of(configuration: Object) -> list[str]:
    """The names of the webhooks in a configuration."""
    return [as_str(webhook.get("name")) for _, webhook in dict_items(configuration.get("webhooks"))]


def webhooks_that_skip(configuration: Object, labels: Mapping[str, Any]) -> list[str]:
    """The names of the webhooks that are not called for a namespace with these labels."""
    return [
        as_str(webhook.get("name"))
        for _, webhook in dict_items(configuration.get("webhooks"))
        if not selects(webhook.get("namespaceSelector") or {}, labels)
    ]


def labels_by_namespace(namespaces: Objects | Unavailable) -> Mapping[str, Mapping[str, Any]]:
    """The labels of each known namespace, by its name."""
    return {name_of(namespace): labels_of(namespace) for namespace in or_empty(namespaces)}


def serving_bundle(facts: CheckFacts) -> bytes | None:
    """The right caBundle (PEM); None if it is not derived from the seed, or the seed is unknown."""
    if not isinstance(facts.seed, StoredSeed):
        return None
    if not isinstance(facts.deployment, ServerDeployment):
        return None
    if facts.deployment.own_seed or facts.deployment.own_certificate:
        return None
    try:
        return bundle_of(Seed.parse(facts.seed.entries))
    except SeedError:
        return None


def _check_ca_bundle(webhook: Object, expected: _Expected) -> _Problem | None:
    encoded = as_str(as_dict(webhook.get("clientConfig")).get("caBundle"))
    if not encoded:
        message = "has no caBundle, so the API server does not trust the server"
        return _Problem(Status.FAILED, message, _PUBLISH)
    try:
        pem = base64.b64decode(encoded, validate=True)
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        message = "has a caBundle that holds no PEM certificate"
        return _Problem(Status.FAILED, message, _PUBLISH)
    expiries = [certificate.not_valid_after_utc for certificate in certificates]
    if all(expiry <= expected.now for expiry in expiries):
        message = f"has a caBundle that expired on {max(expiries):%F}"
        remediation = "run raywarden ca rotate; renew a caBundle that is not derived from the seed"
        return _Problem(Status.FAILED, message, remediation)
    if expected.bundle is not None and pem != expected.bundle:
        message = "has a caBundle that is not the one derived from the seed"
        remediation = f"{_PUBLISH}; find out what else writes it, such as cert-manager or GitOps"
        return _Problem(Status.FAILED, message, remediation)
    if min(expiries) < expected.now + EXPIRY_WARNING:
        message = f"has a caBundle with a certificate that expires on {min(expiries):%F}"
        remediation = (
            "run raywarden ca rotate, and revoke the oldest generation after all clusters have "
            "moved; renew a caBundle that is not derived from the seed"
        )
        return _Problem(Status.WARNING, message, remediation)
    return None


def _check_failure_policy(webhook: Object, expected: _Expected) -> _Problem | None:
    # The API server defaults failurePolicy to Fail.
    failure_policy = as_str(webhook.get("failurePolicy")) or "Fail"
    only_warns = as_str(webhook.get("name")).endswith(_CLIENTS)
    if failure_policy == ("Ignore" if only_warns else _FAILURE_POLICY[expected.kind]):
        return None
    has = f"has failurePolicy {failure_policy}, so while the server is unavailable,"
    if expected.kind == MUTATING or only_warns:
        message = f"{has} the API server rejects every object that this webhook handles"
        remediation = (
            "set failurePolicy: Ignore; the other validating webhooks reject what is unsafe"
        )
        return _Problem(Status.WARNING, message, remediation)
    message = f"{has} the API server accepts every object unchecked"
    return _Problem(Status.FAILED, message, "set failurePolicy: Fail")


def _check_service(webhook: Object, expected: _Expected) -> _Problem | None:
    config = as_dict(webhook.get("clientConfig"))
    right = f"{expected.namespace}/{expected.service}"
    url = as_str(config.get("url"))
    if url:
        message = f"calls the URL {url} instead of the Service {right}"
        remediation = (
            f"set clientConfig.service to {right} instead of url, unless the server runs outside "
            "the cluster"
        )
        return _Problem(Status.WARNING, message, remediation)
    service = as_dict(config.get("service"))
    actual = f"{as_str(service.get('namespace'))}/{as_str(service.get('name'))}"
    if actual == right:
        return None
    message = f"calls the Service {actual} instead of {right}"
    remediation = (
        f"set clientConfig.service to {right}; if the server runs in another namespace, "
        "set RAYWARDEN_NAMESPACE"
    )
    return _Problem(Status.FAILED, message, remediation)


def _check_timeout(webhook: Object, expected: _Expected) -> _Problem | None:
    seconds = webhook.get("timeoutSeconds", _MAX_TIMEOUT_SECONDS)
    if isinstance(seconds, int) and seconds <= _MAX_TIMEOUT_SECONDS:
        return None
    message = (
        f"has timeoutSeconds {seconds}; kubectl and KubeRay wait that long if the server hangs"
    )
    return _Problem(
        Status.WARNING, message, f"set timeoutSeconds to {_MAX_TIMEOUT_SECONDS} or less"
    )


def _check_side_effects(webhook: Object, expected: _Expected) -> _Problem | None:
    side_effects = as_str(webhook.get("sideEffects"))
    if side_effects == "None":
        return None
    message = (
        f"has sideEffects {side_effects or 'unset'}; the API server rejects every dry run that "
        "would call this webhook"
    )
    return _Problem(Status.FAILED, message, "set sideEffects: None")


def _good_ca_bundle(expected: _Expected) -> str:
    if expected.bundle is None:
        return f"the {expected.kind} caBundle is valid"
    return f"the {expected.kind} caBundle is valid and matches the seed"


def _good_failure_policy(expected: _Expected) -> str:
    return f"the {expected.kind} webhooks have failurePolicy {_FAILURE_POLICY[expected.kind]}"


def _good_service(expected: _Expected) -> str:
    return f"the {expected.kind} webhooks call the Service {expected.namespace}/{expected.service}"


def _good_timeout(expected: _Expected) -> str:
    return f"the {expected.kind} webhooks have timeoutSeconds of at most {_MAX_TIMEOUT_SECONDS}"


def _good_side_effects(expected: _Expected) -> str:
    return f"the {expected.kind} webhooks have no side effects"


class _Aspect(NamedTuple):
    """A property of every webhook: its id, the message if all are right, and how to check one."""

    id: str
    good: Callable[[_Expected], str]
    check: Callable[[Object, _Expected], _Problem | None]


_ASPECTS = (
    _Aspect("ca-bundle", _good_ca_bundle, _check_ca_bundle),
    _Aspect("failure-policy", _good_failure_policy, _check_failure_policy),
    _Aspect("service", _good_service, _check_service),
    _Aspect("timeout", _good_timeout, _check_timeout),
    _Aspect("side-effects", _good_side_effects, _check_side_effects),
)
