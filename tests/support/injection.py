"""Helpers for tests of mutations: mutate with the checks that every mutation must pass."""

import copy
from collections.abc import Iterator
from typing import Any

import jsonpatch

from policies.config import Policy
from policies.evaluate import validate
from policies.model import Facts
from policies.mutate import Mutated, mutate
from policies.ray.membership import SUBMITTER_LABELS
from policies.ray.workload import Kind
from tests.support.factory import Object, facts

TLS = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": "/etc/ray/tls/tls.crt",
    "RAY_TLS_SERVER_KEY": "/etc/ray/tls/tls.key",
    "RAY_TLS_CA_CERT": "/etc/ray/tls/ca.crt",
}
OLD = "UPDATE"
_REPLACED = (
    "raywarden.io/tls",
    "raywarden.io/injected",
    "raywarden.io/dashboard-authorization",
    *SUBMITTER_LABELS,
)
_OWN_CONTAINERS = ("raywarden-enroll", "raywarden-dashboard-proxy")


def mutated(document: Object, own_facts: Facts | None = None) -> Mutated:
    """The result of the mutations, after the checks that every mutation must pass."""
    own_facts = own_facts or facts()
    original = copy.deepcopy(document)
    result = mutate(Kind.of(document), document, own_facts)
    assert result.failed == ()
    assert document == original, "the caller's object was changed"
    assert jsonpatch.apply_patch(original, result.operations) == result.document
    again = mutate(Kind.of(document), result.document, own_facts)
    assert again.operations == [], "a second mutation changes the object again"
    return result


def after(document: Object, own_facts: Facts | None = None) -> Any:
    return mutated(document, own_facts).document


def template_of(document: Object, group: str = "head") -> Any:
    spec = document["spec"]
    groups = [spec["headGroupSpec"]] if group == "head" else spec["workerGroupSpecs"]
    return groups[0]["template"]


def env(container: Object) -> dict[str, Any]:
    entries = container["env"]
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in entries}


def denials(document: Object, own_facts: Facts | None = None) -> list[str]:
    """The ids of the rules that deny the object under the default policy."""
    verdict = validate(Kind.of(document), document, Policy.parse(None), own_facts or facts())
    return [violation.rule for violation in verdict.denied]


def only(pod: Object, name: str, field: str = "containers") -> Object:
    return next(container for container in pod["spec"][field] if container["name"] == name)


def lost_values(before: Any, after: Any) -> Iterator[Any]:
    """Values of `before` that are missing at the same place of `after`.

    RayWarden's own labels and containers, and the labels of a submitter, are left out: a mutation
    may replace them.
    """
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if value is not None and name not in _REPLACED:
                yield from lost_values(value, after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        for value in before:
            own = isinstance(value, dict) and value.get("name") in _OWN_CONTAINERS
            if not own and all(list(lost_values(value, candidate)) for candidate in after):
                yield value
    elif before != after:
        yield before
