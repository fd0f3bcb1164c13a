"""KubeRay's submitter Job: NetworkPolicies let its pod in, whatever the version of KubeRay."""

from typing import Any

import pytest

from tests.bypasses.admission import RESTRICTED, verdict
from tests.bypasses.test_members import owner
from tests.bypasses.test_operators import KUBERAY
from tests.bypasses.test_operators import OPERATOR as ACCOUNT
from tests.bypasses.test_operators import USER as NAMESPACED
from tests.support import factory
from tests.support.factory import Object, changed, container, facts
from tests.support.injection import OLD, mutated
from tests.support.related_objects import namespaced_role, submitter_job

ORIGIN = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "job"}
KIND, NAME = "ray.io~1originated-from-crd", "ray.io~1originated-from-cr-name"
TEMPLATE = "/spec/template"
LABELS = f"{TEMPLATE}/metadata/labels"


def labels_after(document: Object) -> Any:
    return dict(mutated(document).document)["spec"]["template"]["metadata"]["labels"]


def pod_of(job: Object) -> Object:
    """The pod that the job controller creates from the template of a stored Job."""
    template, name = job["spec"]["template"], job["metadata"]["name"]
    metadata = {
        "generateName": f"{name}-",
        "namespace": "team-a",
        "labels": {**template["metadata"]["labels"], "job-name": name},
        "ownerReferences": [owner("Job", name)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


@pytest.mark.parametrize(
    "own", [None, {}, {"team": "a"}, ORIGIN, {"ray.io/cluster": "x"}, {"raywarden.io/cluster": "x"}]
)
def test_the_pod_template_gets_the_labels_of_the_job(own: Object | None) -> None:
    document = changed(submitter_job(), {f"{TEMPLATE}/metadata": {"labels": own}})
    assert labels_after(document) == {**(own or {}), **ORIGIN}
    assert labels_after(changed(submitter_job(), {f"{TEMPLATE}/metadata": None})) == ORIGIN


def test_nothing_else_changes() -> None:
    for spec in ({}, {f"{TEMPLATE}/spec/containers/0": container("x", command=["ray", "start"])}):
        document = changed(submitter_job(), spec)
        result = mutated(document)
        assert result.mutations == ("submitter-labels",)
        paths = [operation["path"] for operation in result.operations]
        assert paths == [LABELS, f"{LABELS}/{NAME}", "/metadata/annotations"]


def test_a_job_of_kuberay_1_7_stays_as_it_is() -> None:
    document = changed(submitter_job(), {LABELS: {**ORIGIN, "team": "a"}})
    assert mutated(document).operations == []


@pytest.mark.parametrize("label", [KIND, NAME])
def test_labels_that_name_something_else_are_replaced(label: str) -> None:
    """As by KubeRay 1.7. Otherwise one label of the author could complete another claim."""
    assert labels_after(changed(submitter_job(), {f"{LABELS}/{label}": "other"})) == ORIGIN


OWNERS = "/metadata/ownerReferences"
OTHERS: dict[str, Object] = {
    "no owner": {OWNERS: []},
    "no controller": {OWNERS: [owner("RayJob", "job", controller=False)]},
    "controller of another group": {OWNERS: [owner("RayJob", "job", apiVersion="ray.example/v1")]},
    "controller of another kind": {OWNERS: [owner("RayService", "job")]},
    "controller of another name": {OWNERS: [owner("RayJob", "another")]},
    "no kind": {f"/metadata/labels/{KIND}": None},
    "another kind": {f"/metadata/labels/{KIND}": "RayService"},
    "no RayJob": {f"/metadata/labels/{NAME}": None},
    "another RayJob": {f"/metadata/labels/{NAME}": "another"},
    "another name": {"/metadata/name": "another"},
    "no name": {"/metadata/name": None, "/metadata/generateName": "job"},
    "CronJob": {"/kind": "CronJob", "/spec": {"jobTemplate": {"spec": submitter_job()["spec"]}}},
    "another group": {"/apiVersion": "batch.example/v1"},
    "no template": {TEMPLATE: "x"},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_other_jobs_stay_as_they_are(change: Object) -> None:
    assert mutated(changed(submitter_job(), change)).operations == []


@pytest.mark.parametrize("user", ["", "author", "system:serviceaccount:team-a:kuberay-operator"])
def test_a_job_that_another_user_creates_stays_as_it_is(user: str) -> None:
    """Its labels and owner can be forged, and its pod must not reach the dashboard."""
    assert mutated(submitter_job(), facts(user=user)).operations == []


def test_the_template_of_a_stored_job_stays_as_it_is() -> None:
    """Kubernetes refuses changes of it."""
    assert mutated(submitter_job(), facts(OLD, submitter_job())).operations == []


def test_operators_that_only_the_policy_file_or_a_namespace_knows() -> None:
    request = factory.request(submitter_job(), user=NAMESPACED)
    listed = {"rules": {"operator-made-pods": {"parameters": {"operators": [NAMESPACED]}}}}
    here, elsewhere = (namespaced_role(name, ACCOUNT, *KUBERAY) for name in ("team-a", "team-b"))
    for reviewer, is_mutated in (
        (factory.reviewer(listed), True),
        (factory.reviewer(None, *here), True),
        (factory.reviewer(None, *elsewhere), False),
        (factory.reviewer(), False),
        (factory.ignorant_reviewer(listed), True),
        (factory.ignorant_reviewer(), False),
    ):
        assert bool(reviewer.mutated(request).operations) is is_mutated


def test_admission_accepts_the_job_and_its_pod() -> None:
    accepted: tuple[set[str], set[str]] = (set(), set())
    user = factory.OPERATOR
    job = changed(submitter_job(), {f"{TEMPLATE}/spec": factory.submitter_pod()["spec"]})
    assert verdict(job, user=user, policy=RESTRICTED) == accepted
    stored = dict(factory.reviewer().mutated(factory.request(job, user=user)).document)
    assert verdict(pod_of(stored), policy=RESTRICTED) == accepted
    # What an author may put into the template is judged in the pod, as with KubeRay 1.7.
    privileged = changed(
        pod_of(stored), {"/spec/containers/0/securityContext": {"privileged": True}}
    )
    assert verdict(privileged)[0] == {"no-privileged"}


def test_admission_refuses_the_same_job_of_a_stranger_only_with_a_labeled_template() -> None:
    assert verdict(submitter_job(), user="author") == (set(), set())
    labeled = changed(submitter_job(), {LABELS: ORIGIN})
    assert verdict(labeled, user="author")[0] == {"operator-made-pods"}
