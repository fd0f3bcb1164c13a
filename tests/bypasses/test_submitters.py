"""Row 44: labels by which a pod claims to submit the job of a RayJob.

NetworkPolicies let such pods reach the dashboard of the RayJob's cluster.
"""

from typing import Any

import pytest

from policies.network.parties import PodParty
from policies.network.policy import Direction, NetworkPolicy
from policies.network.reachability import Policies
from tests.bypasses.admission import RESTRICTED, passes, refused, refused_with_derived, verdict
from tests.bypasses.test_members import allowed_by_review, cluster_owner, job, owner, pod_of_a_job
from tests.bypasses.test_operators import KUBERAY
from tests.bypasses.test_operators import OPERATOR as ACCOUNT
from tests.bypasses.test_operators import USER as NAMESPACED
from tests.bypasses.test_pods_and_owners import CONTROLLERS, SPOOFED, controller
from tests.support import factory
from tests.support.factory import Object, changed, container
from tests.support.related_objects import namespaced_role

VICTIM = {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": "victim"}
JOB_CONTROLLER = "system:serviceaccount:kube-system:job-controller"
CONTROLLER_MANAGER = "system:kube-controller-manager"
START = ["ray", "start", "--head"]
KIND_LABEL = "ray.io~1originated-from-crd"
TEMPLATES = [("Pod", ""), *((kind, "/spec/template") for kind in CONTROLLERS if kind != "CronJob")]
TEMPLATES.append(("CronJob", "/spec/jobTemplate/spec/template"))


def with_labels(kind: str, labels: Object, command: list[str] | None = None) -> Object:
    """An author's object of this kind whose pods have these labels."""
    fields: Object = {"command": command} if command else {}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container("x", **fields)]}}
    if kind == "Pod":
        metadata = {"name": "mine", "namespace": "team-a", "labels": labels}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    return controller(kind, template)


@pytest.mark.parametrize("command", [None, START], ids=str)
@pytest.mark.parametrize(
    "labels",
    [
        VICTIM,
        {"ray.io/originated-from-crd": "RayJob"},
        {**VICTIM, "raywarden.io/cluster": "x", "raywarden.io/role": "client"},
    ],
    ids=str,
)
@pytest.mark.parametrize(("kind", "place"), TEMPLATES)
def test_44_a_submitter_of_ones_own(
    kind: str, place: str, labels: Object, command: list[str] | None
) -> None:
    document = with_labels(kind, labels, command)
    plain = with_labels(kind, {"app": "mine"}, command)
    other = with_labels(kind, {**VICTIM, "ray.io/originated-from-cr-name": "mine"}, command)
    for user in ("author", "system:serviceaccount:team-a:argo", factory.OPERATOR):
        assert refused(document, user=user) == SPOOFED
        assert refused(document, plain, user=user) >= SPOOFED
        assert refused(document, other, user=user) >= SPOOFED
    # The labels may stay, and they may go.
    assert not refused(changed(document, {"/metadata/labels/team": "a"}), document, user="author")
    gone = changed(document, {f"{place}/metadata/labels/{KIND_LABEL}": None})
    assert "operator-made-pods" not in refused(gone, document, user="author")


@pytest.mark.parametrize("kind", [kind for kind in CONTROLLERS if kind != "Job"])
def test_44_no_controller_but_a_job_submits(kind: str) -> None:
    """Whatever its owner says, and also if Kubernetes creates it from a Deployment."""
    document = with_labels(kind, VICTIM)
    owned = changed(document, {"/metadata/ownerReferences": [owner("RayJob", "victim")]})
    users = ("deployment-controller", "job-controller", "cronjob-controller")
    for user in (
        factory.OPERATOR,
        *(f"system:serviceaccount:kube-system:{name}" for name in users),
    ):
        assert refused(owned, user=user) == SPOOFED


def test_44_the_submitter_of_kuberay_is_allowed() -> None:
    """Its template is the RayJob's, and its pod is judged: the Job itself is not judged twice."""
    fields = {"securityContext": {"privileged": True}}
    of_kuberay = job(VICTIM, owner("RayJob", "victim"), **fields)
    assert verdict(of_kuberay, user=factory.OPERATOR, policy=RESTRICTED) == (set(), set())
    pod = pod_of_a_job(VICTIM, owner("Job", "victim"))
    for user in (JOB_CONTROLLER, CONTROLLER_MANAGER):
        assert passes(pod, user=user)
        privileged = pod_of_a_job(VICTIM, owner("Job", "victim"), **fields)
        assert refused(privileged, user=user) == {"no-privileged"}
    # Kueue starts a suspended Job by an update, and labels its template.
    queued = changed(of_kuberay, {"/spec/suspend": True})
    started = {"/spec/suspend": False, "/spec/template/metadata/labels/kueue.x-k8s.io~1podset": "x"}
    assert passes(changed(of_kuberay, started), queued, user="system:serviceaccount:kueue:kueue")


@pytest.mark.parametrize(
    "owners",
    [
        (),
        (owner("RayJob", "mine"),),
        (owner("RayJob", "victim", controller=False),),
        (owner("RayJob", "victim", apiVersion="ray.io.example/v1"),),
        (owner("RayService", "victim"),),
        (owner("Job", "victim"),),
        (cluster_owner(name="victim"),),
    ],
    ids=str,
)
def test_44_a_job_belongs_to_the_rayjob_it_names(owners: tuple[Object, ...]) -> None:
    """KubeRay before 1.7 copies what an author wrote, so the operator proves nothing alone."""
    for user in (factory.OPERATOR, "author"):
        assert refused(job(VICTIM, *owners), user=user) == SPOOFED


def test_44_a_forged_owner_needs_the_operator() -> None:
    forged = job(VICTIM, owner("RayJob", "victim"))
    assert refused(forged, user="author") == SPOOFED
    assert (
        refused(forged, job({"app": "mine"}, owner("RayJob", "victim")), user="author") == SPOOFED
    )
    here, elsewhere = (namespaced_role(name, ACCOUNT, *KUBERAY) for name in ("team-a", "team-b"))
    assert not refused(forged, None, *here, user=NAMESPACED)
    assert refused(forged, None, *elsewhere, user=NAMESPACED) == SPOOFED


@pytest.mark.parametrize(
    "owners",
    [
        (),
        (owner("Job", "mine"),),
        (owner("Job", "victim", controller=False),),
        (owner("Job", "victim", apiVersion="batch.example/v1"),),
        (owner("ReplicaSet", "victim", apiVersion="apps/v1"),),
        (owner("RayJob", "victim"),),
    ],
    ids=str,
)
def test_44_a_submitter_pod_belongs_to_the_job_of_its_rayjob(owners: tuple[Object, ...]) -> None:
    """All controllers may share one user name, so the user alone proves nothing."""
    for user in (JOB_CONTROLLER, CONTROLLER_MANAGER):
        assert refused(pod_of_a_job(VICTIM, *owners), user=user) == SPOOFED


@pytest.mark.parametrize(
    "user", ["author", factory.OPERATOR, "system:serviceaccount:kube-system:replicaset-controller"]
)
def test_44_only_the_job_controller_creates_submitters(user: str) -> None:
    assert refused(pod_of_a_job(VICTIM, owner("Job", "victim")), user=user) == SPOOFED


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (factory.ray_cluster, "/spec"),
        (factory.ray_job, "/spec/rayClusterSpec"),
        (factory.ray_service, "/spec/rayClusterConfig"),
        (factory.ray_cron_job, "/spec/jobTemplate/rayClusterSpec"),
    ],
)
@pytest.mark.parametrize(
    "labels",
    ["headGroupSpec/template/metadata/labels", "workerGroupSpecs/0/labels", "headGroupSpec/labels"],
)
def test_44_a_member_that_submits_elsewhere(kind: Any, place: str, labels: str) -> None:
    """KubeRay copies all but three labels of its groups to their pods."""
    document = changed(kind(), {f"{place}/{labels}": VICTIM})
    assert refused(document) == SPOOFED
    assert refused(document, kind()) == SPOOFED
    assert not refused(document, document)
    # The author reads it once, not again for the pods.
    assert sum(map(len, refused_with_derived(document))) == 1


def test_44_a_member_of_an_older_cluster_that_submits_elsewhere() -> None:
    assert refused(factory.head_pod(**VICTIM)) == SPOOFED


def test_44_labels_of_a_group_that_only_count_together() -> None:
    group = "/spec/workerGroupSpecs/0"
    name, kind = VICTIM["ray.io/originated-from-cr-name"], VICTIM["ray.io/originated-from-crd"]
    split = {
        f"{group}/labels": {"ray.io/originated-from-cr-name": name},
        f"{group}/template/metadata/labels": {"ray.io/originated-from-crd": kind},
    }
    assert refused(changed(factory.ray_cluster(), split)) == SPOOFED
    overridden = {**split, f"{group}/labels": {"ray.io/originated-from-crd": "RayService"}}
    assert passes(changed(factory.ray_cluster(), overridden))


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        (factory.ray_job, "/spec/submitterPodTemplate"),
        (factory.ray_cron_job, "/spec/jobTemplate/submitterPodTemplate"),
    ],
)
def test_44_the_submitter_of_another_rayjob(kind: Any, place: str) -> None:
    """KubeRay before 1.7 keeps these labels."""
    document = changed(kind(), {f"{place}/metadata/labels": VICTIM})
    assert refused(document) == SPOOFED
    assert refused(document, kind()) == SPOOFED
    assert not allowed_by_review(document)


def test_44_the_submitter_of_the_rayjob_itself() -> None:
    """With KubeRay before 1.7, authors write these labels for a NetworkPolicy of their own."""
    own = {**VICTIM, "ray.io/originated-from-cr-name": "job"}
    document = changed(factory.ray_job(), {"/spec/submitterPodTemplate/metadata/labels": own})
    assert passes(document)
    assert refused(changed(document, {"/metadata/name": "other"})) == SPOOFED


def test_44_review_allows_what_kuberay_makes_of_a_rayjob() -> None:
    for document in (factory.ray_job(), factory.ray_cron_job()):
        assert allowed_by_review(document)
        assert all(not denied for denied in refused_with_derived(document))


@pytest.mark.parametrize("kind", ["RayService", "RayCluster", "rayjob", ""])
def test_44_labels_of_other_origins_open_nothing(kind: str) -> None:
    for name in ("Pod", "Deployment"):
        assert passes(with_labels(name, {**VICTIM, "ray.io/originated-from-crd": kind}))


def test_44_labels_of_another_namespace_open_nothing() -> None:
    """Members and submitters are selected in the namespace of the cluster alone."""
    members = {"podSelector": {"matchLabels": {"ray.io/cluster": "demo"}}}
    submitters = {"podSelector": {"matchLabels": VICTIM}}
    spec = {"podSelector": members["podSelector"], "ingress": [{"from": [members, submitters]}]}
    metadata = {"name": "demo", "namespace": "team-a"}
    policies = Policies([NetworkPolicy({"metadata": metadata, "spec": spec})])
    head = PodParty("team-a", {"ray.io/cluster": "demo"})
    for labels in (VICTIM, {"ray.io/cluster": "demo"}):
        for namespace, is_open in (("team-a", True), ("team-b", False)):
            source = PodParty(namespace, labels, {"ray.io/cluster": "demo"})
            reach = policies.reach(head, Direction.INGRESS, source)
            assert bool(reach.possibly) is is_open
