"""Row 18: KubeRay operators that have their rights in single namespaces."""

import pytest

from tests.bypasses.admission import refused, verdict
from tests.support import factory
from tests.support.factory import Object, changed
from tests.support.related_objects import namespaced_role

OPERATOR: Object = {"kind": "ServiceAccount", "name": "kuberay", "namespace": "team-a"}
KUBERAY = [("ray.io", "rayclusters/status", "update"), ("", "pods", "create")]
USER = "system:serviceaccount:team-a:kuberay"


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_18_an_operator_of_one_namespace(kind: str) -> None:
    """KubeRay with `singleNamespaceInstall` has Roles only; it is the operator where they are."""
    here, elsewhere = (
        namespaced_role(name, OPERATOR, *KUBERAY, kind=kind) for name in ("team-a", "team-b")
    )
    pod = factory.worker_pod()
    assert verdict(pod, None, *here, user=USER) == (set(), set())
    assert refused(pod, None, *elsewhere, user=USER) == {"operator-made-pods"}
    assert refused(pod, None, *here, user="author") == {"operator-made-pods"}
    half = namespaced_role("team-a", OPERATOR, KUBERAY[1], kind=kind)
    assert refused(pod, None, *half, user=USER) == {"operator-made-pods"}
    everything = namespaced_role("team-a", OPERATOR, ("*", "*", "*"), kind=kind)
    assert refused(pod, None, *everything, user=USER) == {"operator-made-pods"}


def test_18_an_operator_of_one_namespace_still_needs_a_live_cluster() -> None:
    here = namespaced_role("team-a", OPERATOR, *KUBERAY)
    forged = changed(factory.worker_pod(), {"/metadata/ownerReferences/0/uid": "0"})
    assert refused(forged, None, *here, user=USER) == {"operator-made-pods"}


def test_18_an_operator_of_one_namespace_is_not_exempt_from_other_rules() -> None:
    """A tenant may be able to write its Role, so its word does not skip any rule."""
    here = namespaced_role("team-a", OPERATOR, *KUBERAY)
    pod = changed(factory.worker_pod(), {"/spec/hostNetwork": True})
    assert refused(pod, None, *here, user=USER) == {"no-host-access"}
    template = changed(pod, {"/metadata/labels/ray.io~1node-type": "redis-cleanup"})
    job: Object = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "clean-up", "namespace": "team-a"},
        "spec": {"template": {"metadata": template["metadata"], "spec": template["spec"]}},
    }
    assert refused(job, None, *here, user=USER) >= {"no-host-access"}


def test_18_the_remedy_names_the_parameter() -> None:
    reviewer = factory.reviewer()
    violation, *_ = reviewer.verdict(factory.request(factory.worker_pod(), user=USER)).denied
    assert f"if {USER} runs KubeRay" in violation.remediation
    assert "the parameter operators of operator-made-pods" in violation.remediation
    violation, *_ = reviewer.verdict(factory.request(factory.worker_pod(), user="jane")).denied
    assert "operators" not in violation.remediation
