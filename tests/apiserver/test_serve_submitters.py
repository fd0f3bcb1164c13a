"""The labels of a RayJob's submitter with a real API server: who may create them, and who not."""

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.kuberay_operator import OPERATOR
from tests.apiserver.replica import Replica
from tests.apiserver.test_serve_rules import refused_by
from tests.bypasses.test_members import job, owner
from tests.bypasses.test_submitters import VICTIM, with_labels
from tests.support.factory import changed

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
