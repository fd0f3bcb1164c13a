"""Are our webhooks registered as they should be: whom the API server calls, trusts, and waits for?"""

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from cryptography import x509

from certs.authority import serving_bundle as bundle_of
from certs.profile import SOON
from certs.seed import Seed, SeedError
from policies.cluster.selectors import selects
from policies.documents.untyped import as_dict, as_str, dict_items
from webhook.check.deployed import Deployed
from webhook.check.findings import (
    MUTATING,
    VALIDATING,
    CheckFacts,
    Finding,
    Object,
    Objects,
    Status,
    Unavailable,
    failed,
    known,
    named,
    ok,
    unknown,
)
from webhook.check.installation import APPLY
from webhook.ports import StoredSeed

_FAILURE_POLICY = {MUTATING: "Ignore", VALIDATING: "Fail"}
_MOST_SECONDS = 10
_RECONCILED = (
    "a server that is ready writes it within seconds: look at /readyz and its logs; where it is not to, raywarden ca "
    "publish writes it"
)


class _Problem(NamedTuple):
    """What is wrong with one webhook, in words that go after its name."""

    status: Status
    message: str
    remediation: str


class _Expected(NamedTuple):
    """What webhooks are held against. `bundle` is None where it does not come from a seed that is known here."""

    kind: str
    namespace: str
    service: str
    bundle: bytes | None
    now: datetime


def registration(facts: CheckFacts) -> Iterator[Finding]:
    """Both configurations are there, and every webhook in them is as it should be."""
    for kind, configuration in facts.configurations.items():
        where = f"the {kind} webhook configuration"
        if isinstance(configuration, Unavailable):
            yield unknown(f"{kind}-configuration", where, configuration)
        elif configuration is None or not names_of(configuration):
            lacks = "does not exist" if configuration is None else "has no webhooks"
            yield failed(
                f"{kind}-configuration", f"{where} {lacks}: the API server asks nobody", APPLY
            )
        else:
            yield from _of_configuration(facts, kind, configuration)


def _of_configuration(facts: CheckFacts, kind: str, configuration: Object) -> Iterator[Finding]:
    names = names_of(configuration)
    yield ok(f"{kind}-configuration", f"the {kind} webhook configuration has {named(names)}")
    service = (
        facts.deployed.admission_service if isinstance(facts.deployed, Deployed) else "raywarden"
    )
    expected = _Expected(kind, facts.namespace, service, serving_bundle(facts), facts.now)
    for id, good, look in _ASPECTS:
        found: dict[_Problem, list[str]] = {}
        for _, webhook in dict_items(configuration.get("webhooks")):
            if problem := look(webhook, expected):
                found.setdefault(problem, []).append(as_str(webhook.get("name")))
        for problem, bad in found.items():
            message = f"{kind} webhook {named(bad)} {problem.message}"
            yield Finding(f"{kind}-{id}", problem.status, message, problem.remediation)
        if not found:
            yield ok(f"{kind}-{id}", good(expected))


def names_of(configuration: Object) -> list[str]:
    """The names of the webhooks in a configuration."""
    return [as_str(webhook.get("name")) for _, webhook in dict_items(configuration.get("webhooks"))]


def passing_by(configuration: Object, labels: Mapping[str, Any]) -> list[str]:
    """The names of the webhooks in a configuration that are not called for a namespace with these labels."""
    return [
        as_str(webhook.get("name"))
        for _, webhook in dict_items(configuration.get("webhooks"))
        if not selects(webhook.get("namespaceSelector") or {}, labels)
    ]


def labels_by_namespace(namespaces: Objects | Unavailable) -> Mapping[str, Mapping[str, Any]]:
    """The labels of each namespace that is known, by its name."""
    listed = [as_dict(one.get("metadata")) for one in known(namespaces)]
    return {as_str(one.get("name")): as_dict(one.get("labels")) for one in listed}


def serving_bundle(facts: CheckFacts) -> bytes | None:
    """What the caBundle should be (PEM), where it comes from the seed and that is known."""
    if not isinstance(facts.seed, StoredSeed) or not isinstance(facts.deployed, Deployed):
        return None
    if facts.deployed.own_seed or facts.deployed.own_certificate:
        return None
    try:
        return bundle_of(Seed.parse(facts.seed.entries))
    except SeedError:
        return None


def _ca_bundle(webhook: Object, expected: _Expected) -> _Problem | None:
    encoded = as_str(as_dict(webhook.get("clientConfig")).get("caBundle"))
    if not encoded:
        return _Problem(
            Status.FAILED, "has no caBundle: the API server does not trust the server", _RECONCILED
        )
    try:
        pem = base64.b64decode(encoded, validate=True)
        certificates = x509.load_pem_x509_certificates(pem)
    except ValueError:
        return _Problem(
            Status.FAILED, "has a caBundle that holds no certificate in PEM form", _RECONCILED
        )
    if all(one.not_valid_after_utc <= expected.now for one in certificates):
        last = max(one.not_valid_after_utc for one in certificates)
        return _Problem(
            Status.FAILED,
            f"has a caBundle that ended on {last:%F}",
            "raywarden ca rotate; or renew it",
        )
    if expected.bundle is not None and pem != expected.bundle:
        message = "has another caBundle than the one that follows from the seed"
        return _Problem(
            Status.FAILED,
            message,
            f"{_RECONCILED}; or something else writes it, such as cert-manager or GitOps",
        )
    first = min(one.not_valid_after_utc for one in certificates)
    if first < expected.now + SOON:
        remediation = "raywarden ca rotate, and revoke the oldest generation once clusters have moved; or renew it"
        return _Problem(
            Status.WARNING, f"has a caBundle of which a certificate ends on {first:%F}", remediation
        )
    return None


def _failure_policy(webhook: Object, expected: _Expected) -> _Problem | None:
    # What the API server fills in where nothing is written.
    found, wanted = as_str(webhook.get("failurePolicy")) or "Fail", _FAILURE_POLICY[expected.kind]
    if found == wanted:
        return None
    if expected.kind == MUTATING:
        message = (
            f"has failurePolicy {found}: while the server is away, nothing it looks at can be made"
        )
        return _Problem(
            Status.WARNING,
            message,
            "write failurePolicy: Ignore; the validating one refuses what is bare",
        )
    message = f"has failurePolicy {found}: while the server is away, everything is let in unjudged"
    return _Problem(Status.FAILED, message, "write failurePolicy: Fail")


def _points_to_us(webhook: Object, expected: _Expected) -> _Problem | None:
    config, ours = as_dict(webhook.get("clientConfig")), f"{expected.namespace}/{expected.service}"
    service = as_dict(config.get("service"))
    if url := as_str(config.get("url")):
        remediation = f"write clientConfig.service {ours} in place of url, unless the server runs outside the cluster"
        return _Problem(
            Status.WARNING, f"points to the URL {url}, and not to the Service {ours}", remediation
        )
    found = f"{as_str(service.get('namespace'))}/{as_str(service.get('name'))}"
    if found == ours:
        return None
    remediation = (
        f"write clientConfig.service {ours}; or say RAYWARDEN_NAMESPACE, if the server runs there"
    )
    return _Problem(Status.FAILED, f"points to the Service {found}, and not to {ours}", remediation)


def _in_time(webhook: Object, expected: _Expected) -> _Problem | None:
    seconds = webhook.get("timeoutSeconds", _MOST_SECONDS)
    if isinstance(seconds, int) and seconds <= _MOST_SECONDS:
        return None
    message = (
        f"has timeoutSeconds {seconds}: kubectl and KubeRay wait that long when the server hangs"
    )
    return _Problem(Status.WARNING, message, f"write timeoutSeconds: {_MOST_SECONDS}, or less")


def _without_side_effects(webhook: Object, expected: _Expected) -> _Problem | None:
    found = as_str(webhook.get("sideEffects"))
    if found == "None":
        return None
    message = f"has sideEffects {found or 'unset'}: the API server refuses every dry run that it would be asked about"
    return _Problem(Status.FAILED, message, "write sideEffects: None")


_Look = Callable[[Object, _Expected], _Problem | None]
_ASPECTS: tuple[tuple[str, Callable[[_Expected], str], _Look], ...] = (
    (
        "ca-bundle",
        lambda expected: (
            f"{expected.kind} caBundle can be used"
            + (", and is the one that follows from the seed" if expected.bundle is not None else "")
        ),
        _ca_bundle,
    ),
    (
        "failure-policy",
        lambda expected: f"{expected.kind} failurePolicy is {_FAILURE_POLICY[expected.kind]}",
        _failure_policy,
    ),
    (
        "service",
        lambda expected: (
            f"{expected.kind} webhooks point to the Service {expected.namespace}/{expected.service}"
        ),
        _points_to_us,
    ),
    (
        "timeout",
        lambda expected: f"{expected.kind} timeoutSeconds are {_MOST_SECONDS} at most",
        _in_time,
    ),
    (
        "side-effects",
        lambda expected: f"{expected.kind} webhooks have no side effects",
        _without_side_effects,
    ),
)
