"""Properties that hold for every object anyone could send."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

import jsonpatch
import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.evaluate import is_subject
from tests.support import factory, proxied, related_objects
from tests.support.factory import Object
from tests.support.injection import lost_values
from webhook.admission.reviewer import Decision, Reviewer
from webhook.admission.wire import (
    AdmissionRequest,
    AdmissionResponse,
    BadReviewError,
    parse,
    request_in,
)

_words = st.sampled_from(
    [
        "", "1", "yes", "true", "ClusterIP", "LoadBalancer", "head", "managed", "raywarden-tls",
        "raywarden-enroll", "RAY_USE_TLS", "RAYWARDEN_POD_IP", "$(RAYWARDEN_POD_IP)", "*", "a b",
        "/etc/ray/tls", "rayproject/ray:2.60.0", "'", "\u0000", "é", "2026-11-20T00:00:00Z",
        "0.0.0.0/0", "demo-head-svc", "dashboard", "ray.io/cluster", "In",
        "raywarden-dashboard-proxy",
    ]
)  # fmt: skip
# The JSON parser turns integers beyond 64 bits into floats.
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | _words
)
_names = _words | st.sampled_from(
    [
        "name", "value", "valueFrom", "env", "mountPath", "containers", "spec", "metadata", "from",
        "labels", "securityContext", "selector", "ports", "port", "rules", "backendRefs", "ingress",
        "ipBlock", "cidr", "podSelector",
    ]
)  # fmt: skip
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_reviewers = [
    factory.reviewer(policy)
    for policy in (
        None,
        {
            "profiles": {"enforce": "restricted"},
            "inject": {"nodeIpAddress": "fqdn", "auth": "token"},
        },
        {"inject": {"rayCluster": "marker"}},
        {"inject": proxied.INJECT},
        {"inject": {**proxied.INJECT, "rayCluster": "marker"}},
        {
            "profiles": {"enforce": "restricted"},
            "rules": {
                "trusted-images": {
                    "parameters": {"registries": ["rayproject/*"], "attestations": {"a/b": "1"}}
                }
            },
            "expressions": [
                {
                    "id": "own-a",
                    "expression": "object.spec.size() > oldObject.size()",
                    "message": "m",
                }
            ],
        },
    )
]
_reviewers.append(factory.ignorant_reviewer({"profiles": {"enforce": "restricted"}}))
_rich: dict[str, Object] = {
    **{
        kind: make()
        for kind, make in (*factory.MINIMAL.items(), *related_objects.RELATED_OBJECTS.items())
    },
    "managed": dict(_reviewers[0].mutated(factory.request(factory.ray_cluster())).document),
    "proxied": proxied.proxied_cluster(),
    "proxied-pod": proxied.sent_head(proxied.proxied_cluster()),
    "full": factory.ray_cluster(
        autoscalerOptions={"env": [], "securityContext": {}},
        networkPolicy={
            "mode": "DenyAll",
            "workerGroups": [{"groupName": "small", "egressRules": []}],
        },
        gcsFaultToleranceOptions={"redisPassword": {"value": ""}},
        historyServerOptions={"collectorOptions": {"image": "collector:1"}},
    ),
    **{name: review["request"]["object"] for name, review in factory.examples().items()},
}


def places(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path of every value in a document below its root."""
    children: Iterable[tuple[str | int, Any]] = ()
    if isinstance(node, dict):
        children = node.items()
    elif isinstance(node, list):
        children = enumerate(node)
    for token, child in children:
        yield (*path, token)
        yield from places(child, (*path, token))


def breakable(document: Object) -> list[tuple[str | int, ...]]:
    """All places except kind and apiVersion: an object of another kind is another test."""
    return [place for place in places(document) if place not in (("kind",), ("apiVersion",))]


# An author, and KubeRay's operator, whose Jobs are mutated.
_users = st.sampled_from(["", factory.OPERATOR])
_PLACES = {name: breakable(document) for name, document in _rich.items()}


def put(document: Object, place: tuple[str | int, ...], value: Any) -> Object:
    result: Object = copy.deepcopy(document)
    node: Any = result
    for token in place[:-1]:
        node = node[token]
    node[place[-1]] = value
    return result


@st.composite
def broken_objects(draw: st.DrawFn) -> Object:
    """A realistic object in which arbitrary JSON replaces one, two or three fields."""
    name = draw(st.sampled_from(sorted(_rich)))
    document = _rich[name]
    for _ in range(draw(st.integers(1, 3))):
        candidates = _PLACES[name] if document is _rich[name] else breakable(document)
        document = put(document, draw(st.sampled_from(candidates)), draw(_json))
    return document


def check(reviewer: Reviewer, request: AdmissionRequest) -> None:
    assert request.object is not None
    sent = copy.deepcopy(request.object)
    mutated = reviewer.mutated(request)
    assert mutated.failed == ()
    assert request.object == sent
    assert jsonpatch.apply_patch(sent, mutated.operations) == mutated.document
    stored = request.model_copy(update={"object": mutated.document})
    assert reviewer.mutated(stored).operations == []
    assert reviewer.verdict(stored).failed == ()
    assert reviewer.verdict(request).failed == ()
    for decision in (reviewer.mutate(request), reviewer.validate(stored)):
        assert answer(decision)["uid"] == request.uid


def answer(decision: Decision) -> Any:
    return orjson.loads(decision.response.encode())["response"]


@settings(max_examples=400)
@given(broken_objects(), st.sampled_from(_reviewers), _users)
def test_a_broken_object_is_reviewed_like_any_other(
    document: Object, reviewer: Reviewer, user: str
) -> None:
    check(reviewer, factory.request(document, user=user))


@settings(max_examples=300)
@given(broken_objects(), broken_objects(), st.sampled_from(_reviewers))
def test_an_update_between_broken_objects_is_reviewed_like_any_other(
    new: Object, old: Object, reviewer: Reviewer
) -> None:
    check(reviewer, factory.request(new, "UPDATE", old))


@given(broken_objects(), _users)
def test_no_field_the_author_wrote_is_lost(document: Object, user: str) -> None:
    after = _reviewers[0].mutated(factory.request(document, user=user)).document
    assert not list(lost_values(document, after))


@given(_json)
def test_any_json_is_a_review_or_a_bad_request(document: Any) -> None:
    try:
        parse(orjson.dumps(document))
    except BadReviewError as error:
        assert str(error)


@given(
    st.sampled_from(sorted(_rich)),
    st.sampled_from(["uid", "kind", "operation", "namespace", "object", "userInfo"]),
    _json,
)
def test_any_json_in_a_field_of_the_review_is_answered(name: str, field: str, value: Any) -> None:
    review = factory.review(_rich[name])
    review["request"][field] = value
    try:
        request = request_in(review)
    except BadReviewError:
        return
    for decision in (_reviewers[0].mutate(request), _reviewers[0].validate(request)):
        assert isinstance(decision.response, AdmissionResponse)
        assert answer(decision)["uid"] == request.uid


def test_the_examples_are_objects_that_rules_check() -> None:
    assert all(is_subject(factory.request(document).gvk, document) for document in _rich.values())
