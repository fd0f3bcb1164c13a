"""An update is judged by what it adds, and exemptions are those of the policy file."""

from typing import Any

from policies.config import Policy
from tests.policies.export.fixtures import judging
from tests.support import factory
from tests.support.admission_policies import Evaluator
from tests.support.factory import Object

_SPEC = "/spec/headGroupSpec/template/spec"


def added(
    document: Object, stored: Object | None = None, policy: Object | None = None, **fields: Any
) -> set[str]:
    """What the policies of `no-host-access` find that is new."""
    operation = "CREATE" if stored is None else "UPDATE"
    request = factory.request(document, operation, stored, **fields)
    objects = {"object": document, "oldObject": stored}
    evaluator = Evaluator({**request.without_objects, **objects})
    found: set[str] = set()
    for rule, _, exported in judging(Policy.parse(policy)):
        if rule == "no-host-access":
            found.update(evaluator.added(exported))
    return found


def test_an_update_is_judged_by_what_it_adds() -> None:
    stored = factory.changed(factory.ray_cluster(), {f"{_SPEC}/hostNetwork": True})
    assert added(stored) == {"the head sets hostNetwork"}
    assert added(factory.changed(stored, {"/spec/rayVersion": "2.59.0"}), stored) == set()
    worse = factory.changed(stored, {f"{_SPEC}/hostPID": True})
    assert added(worse, stored) == {"the head sets hostPID"}


def test_a_pod_stays_a_ray_pod_without_its_labels() -> None:
    stored = factory.worker_pod()
    bare = factory.changed(stored, {"/metadata/labels": {}, "/spec/hostPID": True})
    assert added(bare, stored) == {"the worker group small sets hostPID"}
    assert added(bare) == set()


def test_exemptions_are_those_of_the_policy_file() -> None:
    exemption = {"rules": ["no-host-access"], "namespaces": ["team-*"], "reason": "x"}
    document = factory.changed(factory.ray_cluster(), {f"{_SPEC}/hostPID": True})
    assert added(document, policy={"exemptions": [exemption]}) == set()
    for changed in ({"namespaces": ["prod-?"]}, {"users": ["alice"]}, {"rules": ["no-root"]}):
        assert added(document, policy={"exemptions": [exemption | changed]})


def test_an_exemption_ends_after_its_last_day() -> None:
    exemption = {"rules": ["no-host-access"], "reason": "x", "until": "2027-01-31"}
    document = factory.changed(factory.ray_cluster(), {f"{_SPEC}/hostPID": True})
    for time, ended in (("2027-01-31T23:59:59Z", False), ("2027-02-01T00:00:00Z", True)):
        created = factory.changed(document, {"/metadata/creationTimestamp": time})
        fields = [{"time": "2026-01-01T00:00:00Z"}, {"time": time}]
        updated = factory.changed(document, {"/metadata/managedFields": fields})
        for now in (created, updated):
            assert bool(added(now, policy={"exemptions": [exemption]})) is ended


def test_an_object_that_is_too_large_is_refused_unread() -> None:
    """CEL in the API server would need seconds."""
    document = factory.ray_cluster()
    (group,) = document["spec"]["workerGroupSpecs"]
    document["spec"]["workerGroupSpecs"] = [group] * 100
    assert added(document) == set()
    document["spec"]["workerGroupSpecs"] = [group] * 101
    assert added(document) == {"the object has too many worker groups or containers to be checked"}
