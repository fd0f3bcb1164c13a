"""The labels of a RayJob's submitter with a real API server: who may create them, and who not."""

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.replica import Replica
from tests.apiserver.test_serve_rules import refused_by
from tests.bypasses.test_members import job, owner
from tests.bypasses.test_submitters import JOB_CONTROLLER, VICTIM, with_labels
from tests.policies.mutations.test_submitter_labels import ORIGIN, pod_of
from tests.support.factory import changed
from tests.support.related_objects import submitter_job

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

SPOOFED = {"operator-made-pods"}
LABELS = {"labels": VICTIM}


def test_a_submitter_of_ones_own(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    namespace = installation.team()
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    in_namespace = {"/metadata/namespace": namespace}
    of_rayjob = changed(job(VICTIM, owner("RayJob", "victim")), in_namespace)
    of_pod = {**in_namespace, "/spec/serviceAccountName": "ray"}
    pod = changed(with_labels("Pod", VICTIM), of_pod)
    assert refused_by(control_plane.post(pods, pod)) == SPOOFED
    assert refused_by(control_plane.post(jobs, of_rayjob)) == SPOOFED
    assert control_plane.post(f"{jobs}?dryRun=All", of_rayjob, OPERATOR).is_success
    # The labels of a pod, and those of a suspended Job's template, can change.
    plain = control_plane.make(pods, changed(with_labels("Pod", {"app": "mine"}), of_pod))
    place = f"{pods}/{plain['metadata']['name']}"
    for address in (place, f"{place}/status"):
        assert refused_by(control_plane.change(address, {"metadata": LABELS})) == SPOOFED
    waiting = {**in_namespace, "/spec/suspend": True, "/metadata/name": "waiting"}
    control_plane.make(jobs, changed(job({"app": "mine"}), waiting))
    change = {"spec": {"template": {"metadata": LABELS}}}
    assert refused_by(control_plane.change(f"{jobs}/waiting", change)) == SPOOFED


def test_the_submitter_of_an_older_kuberay(
    control_plane: ControlPlane, installation: Installation, pair: tuple[Replica, Replica]
) -> None:
    namespace = installation.team()
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    in_namespace = {"/metadata/namespace": namespace}
    of_pod = "/spec/template/spec/serviceAccountName"
    document = changed(submitter_job(), {**in_namespace, of_pod: "ray"})
    # NetworkPolicies do not let the pod of the same Job in if an author creates it.
    forged = control_plane.make(f"{jobs}?dryRun=All", document)
    assert forged["metadata"]["labels"].items() >= ORIGIN.items()
    assert ORIGIN.keys().isdisjoint(forged["spec"]["template"]["metadata"]["labels"])
    stored = control_plane.make(jobs, document, OPERATOR)
    labels = stored["spec"]["template"]["metadata"]["labels"]
    assert labels.items() >= ORIGIN.items()
    pods = f"/api/v1/namespaces/{namespace}/pods"
    pod = changed(pod_of(stored), in_namespace)
    assert refused_by(control_plane.post(pods, pod)) == SPOOFED
    running = control_plane.make(pods, pod, JOB_CONTROLLER)
    assert running["metadata"]["labels"].items() >= ORIGIN.items()
