"""The public door: an object through the whole review, and what KubeRay would make of it."""

from typing import Any

from policies.registry import BASELINE
from tests.support import factory, registration
from tests.support.factory import Object
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

HEAD = "/spec/headGroupSpec/template"
WORKER = "/spec/workerGroupSpecs/0/template"
RAY = f"{HEAD}/spec/containers/0"
OVERWRITE = {"ray.io/overwrite-container-cmd": "true"}
RESTRICTED = {"profiles": {"enforce": "restricted"}}
# What a namespace in order is still told under the default policy is none of these.
_BASELINE = frozenset(rule.id for rule in BASELINE)


def verdict(
    document: Object,
    old: Object | None = None,
    *around: Object,
    policy: Object | None = None,
    user: str = "",
    **fields: Any,
) -> tuple[set[str], set[str]]:
    """The rules that refuse `document`, and those that warn: mutated as `/mutate` does, then validated.

    With `old`, which is stored as admission would have it, it is an update.
    """
    reviewer = factory.reviewer(policy, *around)
    stored, operation = (old, "UPDATE") if old is not None else (None, "CREATE")
    sent = factory.request(document, operation, stored, user, **fields)
    mutated = reviewer.mutated(sent)
    as_stored = sent.model_copy(update={"object": dict(mutated.document)})
    decision = reviewer.validate(as_stored)
    assert mutated.failed == decision.failed == ()
    # What the API server does not send to us is refused by nobody.
    assert not mutated.operations or registration.reaches("mutate", sent)
    assert not decision.denied or registration.reaches("validate", as_stored)
    assert decision.response.allowed is not bool(decision.denied)
    return set(decision.denied), set(decision.warned)


def refused(document: Object, old: Object | None = None, *around: Object, **given: Any) -> set[str]:
    """The rules that refuse `document`."""
    return verdict(document, old, *around, **given)[0]


def by_both(
    document: Object, old: Object | None = None, *around: Object, **given: Any
) -> tuple[set[str], set[str]]:
    """The rules that warn under the default policy, and those that refuse under `restricted`."""
    denied, warned = verdict(document, old, *around, **given)
    assert not denied
    return warned, refused(document, old, *around, policy=RESTRICTED, **given)


def stored(document: Object) -> Object:
    """`document` as admission stores it."""
    return dict(factory.reviewer().mutated(factory.request(document)).document)


def made_of(document: Object) -> list[set[str]]:
    """The rules that refuse what KubeRay makes of an object, from the object itself on downwards."""
    # Under a name of its own: a live cluster of the same name is another one, by its uid.
    fresh = factory.changed(document, {"/metadata/name": "fresh"})
    examined = review_manifest(factory.reviewer(), Manifest("test", 1, fresh), "team-a")
    assert examined is not None
    return [
        {one.rule for one in outcome.denied} for outcome in (examined.outcome, *examined.derived)
    ]


def passes(document: Object, old: Object | None = None, *around: Object, **given: Any) -> bool:
    """Admission lets `document` through, and no rule of `baseline` says a word."""
    denied, warned = verdict(document, old, *around, **given)
    return not denied and not warned & _BASELINE
