"""What Kueue writes into the objects of a queue: every update passes, and admission adds nothing.

Kueue starts, stops and restarts a job by updates of the object, and reads its pod templates again:
if admission changed them, the job would no longer be the one that was admitted.
Source: `pkg/podset/podset.go`, `pkg/controller/jobs/ray{cluster,job,service}` (Kueue 0.13 to 0.19).
"""

from typing import Any

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.ray.workload import Kind
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import after, mutated

_USER = "system:serviceaccount:kueue-system:kueue-controller-manager"
_RESTRICTED = Policy.parse({"profiles": {"enforce": "restricted"}})
_QUEUE = {"/metadata/labels/kueue.x-k8s.io~1queue-name": "ml"}
# What Kueue merges into each template of an admitted job.
_ADMITTED: Object = {
    "metadata/labels/kueue.x-k8s.io~1podset": "main",
    "metadata/annotations/kueue.x-k8s.io~1workload": "raycluster-demo-1a2b3",
    "spec/nodeSelector": {"pool": "a"},
    "spec/tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoSchedule"}],
    "spec/schedulingGates": [{"name": "kueue.x-k8s.io/topology"}],
}
_GROUPS = ("headGroupSpec", "workerGroupSpecs/0")
_TEMPLATES = {
    "RayCluster": [f"/spec/{group}/template" for group in _GROUPS],
    "RayJob": [
        *(f"/spec/rayClusterSpec/{group}/template" for group in _GROUPS),
        "/spec/submitterPodTemplate",
    ],
    "RayService": [f"/spec/rayClusterConfig/{group}/template" for group in _GROUPS],
}
_SUSPEND = {"RayService": "/spec/rayClusterConfig/suspend"}
_MADE = {
    "RayCluster": factory.ray_cluster,
    "RayJob": factory.ray_job,
    "RayService": factory.ray_service,
}
MODES: list[dict[str, Any]] = [{}, {"rayCluster": "marker"}, {"auth": "token"}]


def queued(kind: str, **inject: Any) -> Object:
    """An object as it is stored while it waits in a queue."""
    document = changed(_MADE[kind](), {**_QUEUE, _suspend(kind): True})
    return after(document, facts(user="author", **inject)) if kind == "RayCluster" else document


def _suspend(kind: str) -> str:
    return _SUSPEND.get(kind, "/spec/suspend")


def started(stored: Object) -> Object:
    """The object as Kueue updates it when there is quota."""
    kind = stored["kind"]
    changes = {
        f"{template}/{place}": value
        for template in _TEMPLATES[kind]
        for place, value in _ADMITTED.items()
    }
    result = changed(stored, {**changes, _suspend(kind): False})
    # Kueue sends whole lists, in which its types write this.
    for template in _TEMPLATES[kind]:
        node: Any = result
        for token in template.split("/")[1:]:
            node = node[int(token)] if isinstance(node, list) else node[token]
        node["metadata"]["creationTimestamp"] = None
    return result


def refusals(document: Object, before: Object) -> list[str]:
    """What the rules refuse in an update of Kueue, under the stricter profile."""
    own_facts = facts("UPDATE", before, user=_USER)
    verdict = validate(Kind.of(document), document, _RESTRICTED, own_facts)
    return [violation.message for violation in verdict.denied]


@pytest.mark.parametrize("inject", MODES, ids=str)
def test_admission_adds_nothing_to_a_raycluster_that_starts_or_stops(
    inject: dict[str, Any],
) -> None:
    stored = queued("RayCluster", **inject)
    running = started(stored)
    for new, old in ((running, stored), (stored, running)):
        # The server's choices may have changed since.
        for now in MODES:
            assert mutated(new, facts("UPDATE", old, user=_USER, **now)).operations == []


@pytest.mark.parametrize("kind", _MADE)
def test_starting_and_stopping_is_never_refused(kind: str) -> None:
    stored = queued(kind)
    running = started(stored)
    assert refusals(running, stored) == []
    assert refusals(stored, running) == []


def test_the_submitter_that_kueue_writes_is_not_refused() -> None:
    """Kueue writes the template that KubeRay uses where the author wrote none."""
    stored = changed(queued("RayJob"), {"/spec/submitterPodTemplate": None})
    submitter = {
        "name": "ray-job-submitter",
        "image": factory.IMAGE,
        "resources": {
            "requests": {"cpu": "500m", "memory": "200Mi"},
            "limits": {"cpu": "1", "memory": "1Gi"},
        },
    }
    template = {"spec": {"containers": [submitter], "restartPolicy": "Never"}}
    running = started(changed(stored, {"/spec/submitterPodTemplate": template}))
    assert refusals(running, stored) == []


def test_an_author_does_not_get_through_with_what_kueue_does() -> None:
    stored = queued("RayCluster")
    unsafe = {"/spec/headGroupSpec/template/spec/hostNetwork": True}
    assert refusals(changed(started(stored), unsafe), stored) == ["the head sets hostNetwork"]
