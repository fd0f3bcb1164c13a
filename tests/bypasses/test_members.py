"""Rows 44 and 45: labels by which a pod claims to belong to a Ray cluster."""

from typing import Any

import pytest

from certs.identity import NotAllowedError
from policies.ray.membership import CLAIM_LABELS
from tests.bypasses.admission import (
    KINDS,
    RESTRICTED,
    passes,
    refused,
    refused_with_derived,
    verdict,
)
from tests.bypasses.test_pods_and_owners import CONTROLLERS, controller
from tests.support import factory, live_objects, related_objects
from tests.support.factory import Object, changed, container
from tests.webhook.enrollment.test_signing import ScriptedCluster, sign, signing
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

SPOOFED = {"operator-made-pods"}
NOT_A_MEMBER = r"not owned by|does not name one"
START = ["ray", "start", "--head"]
JOB_CONTROLLER = "system:serviceaccount:kube-system:job-controller"
CLEAN_UP = {"ray.io/cluster": "demo", "ray.io/node-type": "redis-cleanup"}
JOBS = [
    (factory.ray_job, "/spec/submitterPodTemplate"),
    (factory.ray_cron_job, "/spec/jobTemplate/submitterPodTemplate"),
]


def owner(kind: str, name: str = "demo", **fields: Any) -> Object:
    version = "ray.io/v1" if kind.startswith("Ray") else "batch/v1"
    owned = {"apiVersion": version, "kind": kind, "name": name, "controller": True}
    return {**owned, "uid": "another", **fields}


def cluster_owner(**fields: Any) -> Object:
    """The owner reference of an object that belongs to the live RayCluster."""
    return {**factory.head_pod()["metadata"]["ownerReferences"][0], **fields}


def job(labels: Object, *owners: Object, **fields: Any) -> Object:
    """A Job whose pod has these labels."""
    spec = {"containers": [container("main", **fields)], "restartPolicy": "Never"}
    document = controller("Job", {"metadata": {"labels": labels}, "spec": spec})
    return changed(document, {"/metadata/ownerReferences": list(owners)})


def pod_of_a_job(labels: Object, *owners: Object, **fields: Any) -> Object:
    """The pod that the job controller creates for a Job."""
    template = job(labels, **fields)["spec"]["template"]
    owned: Object = {"labels": labels, "ownerReferences": list(owners)}
    metadata = {"generateName": "x-", "namespace": "team-a", **owned}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def allowed_by_review(document: Object) -> bool:
    """The verdict of `raywarden review` on a manifest and on what KubeRay creates from it."""
    # It needs a name of its own: the uid of a live cluster with the same name would not match.
    fresh = changed(document, {"/metadata/name": "fresh"})
    reviewed = review_manifest(factory.reviewer(), Manifest("test", 1, fresh), "team-a")
    return reviewed is not None and reviewed.allowed


@pytest.mark.parametrize(("kind", "place"), JOBS)
@pytest.mark.parametrize(
    "labels",
    [
        {"ray.io/cluster": "victim", "ray.io/node-type": "redis-cleanup"},
        {"ray.io/cluster": "victim"},
        {"ray.io/node-type": "redis-cleanup"},
        {"ray.io/node-type": "head", "raywarden.io/cluster": "victim"},
        {"ray.io/group": "headgroup", "app": "mine"},
        {"ray.io/cluster": ""},
    ],
    ids=str,
)
def test_44_claims_in_a_submitter(kind: Any, place: str, labels: Object) -> None:
    """KubeRay keeps these labels, so its Job would create a member of another's cluster."""
    document = changed(kind(), {f"{place}/metadata/labels": labels})
    for user in ("author", factory.OPERATOR):
        assert refused(document, user=user) == SPOOFED
    assert refused(document, kind()) == SPOOFED
    # Also if the job runs in a cluster that exists, and in the old version of the API.
    selected = changed(document, {f"{place.rpartition('/')[0]}/rayClusterSpec": None})
    assert refused(selected) == SPOOFED
    assert refused({**document, "apiVersion": "ray.io/v1alpha1"}) == SPOOFED
    assert not allowed_by_review(document)


@pytest.mark.parametrize(("kind", "place"), JOBS)
def test_44_other_labels_of_a_submitter_are_allowed(kind: Any, place: str) -> None:
    # The label that Ray's documentation recommends for submitters and NetworkPolicies.
    labels = {"app": "mine", "ray.io/allow-head-access": "true"}
    document = changed(kind(), {f"{place}/metadata/labels": labels})
    assert passes(document) and allowed_by_review(document)


@pytest.mark.parametrize(
    "labels", [CLEAN_UP, {**CLEAN_UP, "ray.io/node-type": "head"}, {"ray.io/group": "small"}]
)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_44_kuberay_replaces_claims_in_the_groups_of_a_cluster(
    kind: Any, place: str, labels: Object
) -> None:
    """Labels in templates and groups do not reach pods, so they are harmless there."""
    group = f"{place}/headGroupSpec"
    document = changed(kind(), {f"{group}/template/metadata/labels": labels})
    assert passes(document) and allowed_by_review(document)
    document = changed(kind(), {f"{place}/workerGroupSpecs/0/labels": labels})
    assert passes(document) and allowed_by_review(document)


@pytest.mark.parametrize(
    "owners",
    [
        (),
        (owner("RayJob", "job"),),
        (cluster_owner(name="other"),),
        (cluster_owner(uid="forged"),),
        (cluster_owner(controller=False),),
        (cluster_owner(apiVersion="ray.io.example/v1"),),
        (cluster_owner(controller=False), owner("RayJob", "job")),
    ],
    ids=str,
)
def test_44_a_clean_up_job_belongs_to_the_cluster_it_names(owners: tuple[Object, ...]) -> None:
    """Even the operator's account cannot create another: KubeRay makes Jobs for its users."""
    assert refused(job(CLEAN_UP, *owners, command=START), user=factory.OPERATOR) == SPOOFED
    assert refused(job(CLEAN_UP, *owners, command=START), user="author") == SPOOFED


def test_44_the_job_of_a_rayjob_that_is_older_than_raywarden() -> None:
    """KubeRay still creates Jobs from a RayJob that nobody judged."""
    for labels in (CLEAN_UP, {"ray.io/cluster": "demo"}, {"ray.io/group": "headgroup"}):
        deputy = job({**labels, "ray.io/originated-from-crd": "RayJob"}, owner("RayJob", "job"))
        assert refused(deputy, user=factory.OPERATOR) == SPOOFED


def test_44_a_clean_up_of_kuberay_is_never_refused() -> None:
    """KubeRay waits for it before a RayCluster can go."""
    fields = {"securityContext": {"privileged": True}, "image": "mine"}
    of_kuberay = job(CLEAN_UP, cluster_owner(), **fields)
    assert verdict(of_kuberay, user=factory.OPERATOR, policy=RESTRICTED) == (set(), set())
    pod = pod_of_a_job(CLEAN_UP, owner("Job", "demo-redis-cleanup"), **fields)
    for user in (JOB_CONTROLLER, "system:kube-controller-manager"):
        assert verdict(pod, user=user, policy=RESTRICTED) == (set(), set())


def test_44_a_clean_up_before_the_caches_are_filled() -> None:
    """Which RayClusters exist is not known then, and the owner reference has to do."""
    reviewer = factory.ignorant_reviewer(RESTRICTED)
    pod = pod_of_a_job(CLEAN_UP, owner("Job", "demo-redis-cleanup"))
    decision = reviewer.validate(factory.request(pod, "CREATE", None, JOB_CONTROLLER))
    assert decision.response.allowed


@pytest.mark.parametrize(
    ("labels", "owners"),
    [
        (CLEAN_UP, ()),
        (CLEAN_UP, (owner("ReplicaSet", "x", apiVersion="apps/v1"),)),
        (CLEAN_UP, (owner("Job", "x", apiVersion="batch.example/v1"),)),
        (CLEAN_UP, (owner("Job", "x", controller=False),)),
        ({**CLEAN_UP, "ray.io/cluster": "gone"}, (owner("Job", "x"),)),
        ({"ray.io/node-type": "redis-cleanup"}, (owner("Job", "x"),)),
        ({**CLEAN_UP, "ray.io/cluster": None}, (owner("Job", "x"),)),
    ],
    ids=str,
)
def test_44_a_clean_up_pod_belongs_to_a_job(labels: Object, owners: tuple[Object, ...]) -> None:
    """All controllers may share one user name, so the user alone proves nothing."""
    pod = pod_of_a_job(labels, *owners, command=START, securityContext={"privileged": True})
    for user in (JOB_CONTROLLER, "system:kube-controller-manager", factory.OPERATOR):
        assert refused(pod, user=user) >= {*SPOOFED, "no-privileged"}


@pytest.mark.parametrize("name", [None, "ray.io~1cluster"])
def test_44_no_certificate_for_a_pod_that_only_claims(name: str | None) -> None:
    """Every claim counts for the signer too, whatever else the labels say."""
    labels = {"ray.io/cluster": "demo", "ray.io/node-type": "redis-cleanup"}
    labels |= {"raywarden.io/cluster": "x", "raywarden.io/role": "worker"}
    change: Object = {"/metadata/labels": labels, "/metadata/ownerReferences": [owner("Job")]}
    pod = changed(changed(live_objects.pod(), change), {f"/metadata/labels/{name}": None})
    with pytest.raises(NotAllowedError, match=NOT_A_MEMBER):
        sign(signing(ScriptedCluster(pod)))


@pytest.mark.parametrize("label", CLAIM_LABELS)
def test_45_no_certificate_by_opting_in_beside_a_claim(label: str) -> None:
    """Admission and the signer agree: a claim comes before the opt-in label."""
    opted_in = live_objects.opted_in_pod(uid=live_objects.POD_UID)
    claiming = changed(opted_in, {f"/metadata/labels/{label.replace('/', '~1')}": "head"})
    assert sign(signing(ScriptedCluster(opted_in))).identity.cluster.opted_in
    with pytest.raises(NotAllowedError, match=NOT_A_MEMBER):
        sign(signing(ScriptedCluster(claiming)))


@pytest.mark.parametrize("kind", CONTROLLERS)
@pytest.mark.parametrize("command", [START, ["/mine/entrypoint.sh"]], ids=str)
@pytest.mark.parametrize(
    "labels",
    [
        {"ray.io/node-type": "redis-cleanup", "raywarden.io/cluster": "x"},
        {"ray.io/node-type": "worker", "raywarden.io/tls": "managed"},
        {"ray.io/group": "headgroup"},
        {"ray.io/group": "headgroup", "raywarden.io/cluster": "x", "raywarden.io/role": "client"},
        {"ray.io/originated-from-crd": "RayJob", "ray.io/node-type": "redis-cleanup"},
    ],
    ids=str,
)
def test_45_a_claim_in_a_template(kind: str, command: list[str], labels: Object) -> None:
    """It makes the template Ray's: every rule judges it, none is lenient."""
    spec = {"containers": [container("main", command=command)]}
    document = controller(kind, {"metadata": {"labels": labels}, "spec": spec})
    assert refused(document) == SPOOFED
    assert refused(document, policy=RESTRICTED) >= {*SPOOFED, "tls-on", "auth-on", "no-root"}
    plain = changed(document, {})
    template = "/spec/jobTemplate/spec/template" if kind == "CronJob" else "/spec/template"
    plain = changed(document, {f"{template}/metadata/labels": {"app": "mine"}})
    assert refused(document, plain) == SPOOFED


def test_45_a_marker_on_the_controller_is_no_tls() -> None:
    """RayWarden adds TLS to pods that opt in, whatever label their controller has."""
    spec = {"containers": [container("main", command=START)]}
    document = controller("Job", {"metadata": {"labels": {"app": "mine"}}, "spec": spec})
    marked = changed(document, {"/metadata/labels": {"raywarden.io/tls": "managed"}})
    assert {"tls-on", "auth-on", "no-root"} <= refused(marked, policy=RESTRICTED)


def test_45_a_pod_that_claims_beside_opting_in() -> None:
    labels = {"ray.io/node-type": "redis-cleanup", "raywarden.io/cluster": "x"}
    pod = pod_of_a_job(labels, owner("Job", "x"), command=START)
    for user in (JOB_CONTROLLER, "author"):
        assert refused(pod, user=user) >= SPOOFED
        assert refused(pod, user=user, policy=RESTRICTED) >= {*SPOOFED, "tls-on", "auth-on"}


def test_45_the_label_of_a_submitter_earns_no_leniency() -> None:
    """A pod that opted in is no submitter: NetworkPolicies must protect it like the others."""
    pod = factory.opted_in_pod()
    origin = {"/metadata/labels/ray.io~1originated-from-crd": "RayJob"}
    open_policy = changed(related_objects.network_policy(), {"/spec/ingress": [{}]})
    for document in (pod, changed(pod, origin)):
        denied = refused(document, None, open_policy, user="author", policy=RESTRICTED)
        assert "network-policy-present" in denied


@pytest.mark.parametrize("labels", [{"app": "mine"}, {"ray.io/serve": "true"}])
def test_45_templates_without_a_claim_are_allowed(labels: Object) -> None:
    spec = {"containers": [container("main", command=["python", "serve.py"])]}
    for kind in CONTROLLERS:
        assert passes(controller(kind, {"metadata": {"labels": labels}, "spec": spec}))


def test_44_review_and_webhook_agree() -> None:
    """`review` judges the RayJob, its Job's pod, and its cluster like the webhook."""
    template = factory.template("ray-job-submitter")
    assert all(
        not denied
        for denied in refused_with_derived(factory.ray_job(submitterPodTemplate=template))
    )
