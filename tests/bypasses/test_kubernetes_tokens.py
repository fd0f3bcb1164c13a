"""Row 72: Ray that asks the API server about the tokens of its callers."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, RESTRICTED, by_both, passes, verdict
from tests.bypasses.test_tokens import AUTH, MODE, in_all
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster
from tests.support.related_objects import cluster_role

KUBERNETES = {"mode": "token", "enableK8sTokenAuth": True}
SWITCH = {"name": "RAY_ENABLE_K8S_TOKEN_AUTH", "value": "true"}


@pytest.mark.parametrize(
    "document",
    [
        ray_cluster(authOptions=KUBERNETES),
        in_all(MODE, SWITCH),
        in_all(MODE, SWITCH, {"name": "RAY_AUTH_TOKEN_PATH", "value": "/var/run/token"}),
        in_all({**MODE, "value": "TOKEN"}, {**SWITCH, "value": "1"}),
        changed(in_all(MODE, {**SWITCH, "value": "True"}), {"/spec/workerGroupSpecs": []}),
        changed(factory.opted_in_pod(), {"/spec/containers/0/env": [MODE, SWITCH]}),
    ],
)
def test_72_kubernetes_tokens_are_announced(document: Object) -> None:
    for policy in (None, RESTRICTED):
        denied, warned = verdict(document, policy=policy)
        assert not denied
        assert "auth-on" in warned


def reviewers(rules: list[tuple[str, str, str]], *subjects: Object) -> tuple[Object, Object]:
    account = {"kind": "ServiceAccount", "name": "ray", "namespace": "team-a"}
    return cluster_role("ray-authenticator", [*(subjects or (account,))], *rules)


REVIEWS = [
    ("authentication.k8s.io", "tokenreviews", "create"),
    ("authorization.k8s.io", "subjectaccessreviews", "create"),
]
GROUP = {"kind": "Group", "name": "system:serviceaccounts:team-a"}
DELEGATOR = reviewers([])[1] | {
    "roleRef": {"kind": "ClusterRole", "name": "system:auth-delegator"},
}


def lacks_reviews(document: Object, *related_objects: Object) -> bool:
    """RayWarden says that Ray cannot check tokens."""
    found = factory.reviewer(None, *related_objects).verdict(factory.request(document))
    return any("TokenReviews" in violation.message for violation in found.warned)


@pytest.mark.parametrize(
    ("rbac", "lacks"),
    [
        ((), True),
        (reviewers(REVIEWS[:1]), True),
        (reviewers([("", "tokenreviews", "create"), REVIEWS[1]]), True),
        (reviewers([("authentication.k8s.io", "tokenreviews", "get"), REVIEWS[1]]), True),
        (reviewers(REVIEWS, {"kind": "ServiceAccount", "name": "ray", "namespace": "b"}), True),
        ([document | {"kind": "RoleBinding"} for document in reviewers(REVIEWS)[1:]], True),
        (reviewers(REVIEWS), False),
        (reviewers(REVIEWS, GROUP), False),
        (reviewers([("*", "*", "*")]), False),
        ((DELEGATOR,), False),
    ],
)
def test_72_the_right_to_review_tokens(rbac: Any, lacks: bool) -> None:
    for document in (ray_cluster(authOptions=KUBERNETES), in_all(MODE, SWITCH)):
        assert lacks_reviews(document, *rbac) is lacks
    assert not lacks_reviews(ray_cluster(), *rbac)


def test_72_kuberays_own_service_account_for_the_autoscaler() -> None:
    document = changed(
        ray_cluster(authOptions=KUBERNETES, enableInTreeAutoscaling=True),
        {f"{HEAD}/spec/serviceAccountName": None},
    )
    assert lacks_reviews(document, *reviewers(REVIEWS))
    account = {"kind": "ServiceAccount", "name": "demo", "namespace": "team-a"}
    both = cluster_role("more", [account, {**account, "name": "ray"}], *REVIEWS)
    assert not lacks_reviews(document, *both)


@pytest.mark.parametrize("value", ["false", "yes", "on", ""])
def test_72_switches_that_ray_reads_as_off(value: str) -> None:
    """Ray then needs a token of its own, and none is visible."""
    _, denied = by_both(in_all(MODE, {**SWITCH, "value": value}))
    assert denied == AUTH


def test_72_kubernetes_tokens_in_clear_text_remain() -> None:
    assert passes(ray_cluster(authOptions=KUBERNETES))
