"""An object through the whole review, and what KubeRay would create from it."""

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
# Every kind of KubeRay, and the place of the cluster in it.
KINDS = [
    (factory.ray_cluster, "/spec"),
    (factory.ray_job, "/spec/rayClusterSpec"),
    (factory.ray_service, "/spec/rayClusterConfig"),
    (factory.ray_cron_job, "/spec/jobTemplate/rayClusterSpec"),
]
RESTRICTED = {"profiles": {"enforce": "restricted"}}
# Even a well-configured namespace gets warnings from other rules under the default policy.
_BASELINE = frozenset(rule.id for rule in BASELINE)


def verdict(
    document: Object,
    old: Object | None = None,
    *related_objects: Object,
    policy: Object | None = None,
    user: str = "",
    **fields: Any,
) -> tuple[set[str], set[str]]:
    """The rules that refuse `document`, and those that warn, after it was mutated.

    With `old`, the stored object as admission left it, the request is an update.
    """
    reviewer = factory.reviewer(policy, *related_objects)
    stored, operation = (old, "UPDATE") if old is not None else (None, "CREATE")
    sent = factory.request(document, operation, stored, user, **fields)
    mutated = reviewer.mutated(sent)
    as_stored = sent.model_copy(update={"object": dict(mutated.document)})
    decision = reviewer.validate(as_stored)
    assert mutated.failed == decision.failed == ()
    # RayWarden can refuse only what the API server sends to it.
    assert not mutated.operations or registration.reaches("mutate", sent)
    assert not decision.denied or registration.reaches("validate", as_stored)
    assert decision.response.allowed is not bool(decision.denied)
    return set(decision.denied), set(decision.warned)


def refused(
    document: Object, old: Object | None = None, *related_objects: Object, **options: Any
) -> set[str]:
    """The rules that refuse `document`."""
    return verdict(document, old, *related_objects, **options)[0]


def by_both(
    document: Object, old: Object | None = None, *related_objects: Object, **options: Any
) -> tuple[set[str], set[str]]:
    """The rules that warn under the default policy, and those that refuse under `restricted`."""
    denied, warned = verdict(document, old, *related_objects, **options)
    assert not denied
    return warned, refused(document, old, *related_objects, policy=RESTRICTED, **options)


def stored(document: Object) -> Object:
    """`document` as admission stores it."""
    return dict(factory.reviewer().mutated(factory.request(document)).document)


def refused_with_derived(document: Object) -> list[set[str]]:
    """The rules that refuse an object, and those for each object KubeRay creates from it."""
    # It needs a name of its own: the uid of a live cluster with the same name would not match.
    fresh = factory.changed(document, {"/metadata/name": "fresh"})
    reviewed = review_manifest(factory.reviewer(), Manifest("test", 1, fresh), "team-a")
    assert reviewed is not None
    rules: list[set[str]] = []
    for outcome in (reviewed.outcome, *reviewed.derived):
        rules.append({violation.rule for violation in outcome.denied})
    return rules


def passes(
    document: Object, old: Object | None = None, *related_objects: Object, **options: Any
) -> bool:
    """Admission allows `document`, and no rule of `baseline` warns."""
    denied, warned = verdict(document, old, *related_objects, **options)
    return not denied and not warned & _BASELINE
