"""Nothing that one review computes or returns changes what another review returns."""

import copy
import gc
from typing import Any

import orjson
import pytest

from policies.config import Policy
from tests.support import factory, proxied
from tests.support.factory import Object
from webhook.admission.reviewer import Reviewer

_POLICIES: dict[str, Any] = {
    "default": None,
    "other users": {"inject": {"nonRootImages": [{"image": "rayproject/*", "uid": 4711}]}},
    "no users": {"inject": {"nonRootImages": []}},
    "proxy": {"inject": proxied.INJECT},
}
_REVIEWERS = {name: factory.reviewer(policy) for name, policy in _POLICIES.items()}
_OBJECTS = {
    "cluster": factory.ray_cluster,
    "head": factory.head_pod,
    "worker": factory.worker_pod,
    "submitter": factory.submitter_pod,
}


def answer(reviewer: Reviewer, document: Object) -> Any:
    return orjson.loads(reviewer.mutate(factory.request(document)).response.encode())


def spoil(value: Any) -> None:
    """Change every object and list below `value` in place."""
    if isinstance(value, dict):
        for part in value.values():
            spoil(part)
        value["spoiled"] = True
    elif isinstance(value, list):
        for part in value:
            spoil(part)
        value.append("spoiled")


@pytest.mark.parametrize("kind", sorted(_OBJECTS))
@pytest.mark.parametrize("policy", sorted(_POLICIES))
def test_changing_a_result_does_not_change_the_next(policy: str, kind: str) -> None:
    reviewer, document = _REVIEWERS[policy], _OBJECTS[kind]()
    before = answer(reviewer, copy.deepcopy(document))
    mutated = reviewer.mutated(factory.request(copy.deepcopy(document)))
    spoil(mutated.compact_patch)
    spoil(mutated.operations)
    spoil(mutated.document)
    assert answer(reviewer, copy.deepcopy(document)) == before


@pytest.mark.parametrize("kind", sorted(_OBJECTS))
def test_reviews_of_different_policies_take_nothing_from_each_other(kind: str) -> None:
    document = _OBJECTS[kind]()
    alone = {name: answer(factory.reviewer(policy), document) for name, policy in _POLICIES.items()}
    for name in [*_POLICIES, *reversed(_POLICIES), *_POLICIES]:
        assert answer(_REVIEWERS[name], document) == alone[name]
    assert kind == "submitter" or alone["default"] != alone["other users"] != alone["no users"]


def test_a_new_policy_has_another_hash_in_the_next_review() -> None:
    policies = [Policy.parse(policy) for policy in _POLICIES.values()]
    current = [policies[0]]
    reviewer = factory.reviewer()
    reviewer._policy = lambda: current[0]
    hints = []
    for policy in (*policies, *policies):
        current[0] = policy
        mutated = reviewer.mutated(factory.request(factory.ray_cluster()))
        hints.append(
            orjson.loads(mutated.document["metadata"]["annotations"]["raywarden.io/injected"])
        )
    hashes = [hint["hash"] for hint in hints]
    assert hashes[: len(policies)] == hashes[len(policies) :]
    assert len(set(hashes)) == len(policies)


@pytest.mark.parametrize("kind", sorted(_OBJECTS))
def test_a_review_leaves_nothing_for_the_garbage_collector(kind: str) -> None:
    reviewer, request = _REVIEWERS["default"], factory.request(_OBJECTS[kind]())
    for review in (reviewer.mutate, reviewer.validate):
        review(request)
        gc.collect()
        gc.disable()
        try:
            review(request)
            assert gc.collect() == 0
        finally:
            gc.enable()
