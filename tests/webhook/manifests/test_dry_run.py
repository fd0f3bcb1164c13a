"""A review of a manifest and of what KubeRay creates from it: each cause is reported once."""

import copy
from collections.abc import Callable, Iterator

import pytest

from policies.documents.pointer import Pointer
from policies.model import Facts, Violation
from policies.ray.workload import Workload
from policies.rules.no_host_access import NoHostAccess
from tests.support import factory
from tests.support.factory import Object, changed
from webhook.manifests.dry_run import ReviewedManifest, request_of, review_manifest
from webhook.manifests.read import Manifest

RESTRICTED = {"profiles": {"enforce": "restricted"}}
TEMPLATE = "/spec/workerGroupSpecs/0/template/spec"
RAY = f"{TEMPLATE}/containers/0"
TOKEN = {"name": "HF_TOKEN", "value": "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"}
COPIED = {
    "env": {f"{RAY}/env": [{"name": "PYTHONPATH", "value": "/app"}]},
    "credential": {f"{RAY}/env": [TOKEN]},
    "capability": {f"{RAY}/securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}},
    "privileged": {f"{RAY}/securityContext": {"privileged": True}},
    "seccomp": {f"{RAY}/securityContext": {"seccompProfile": {"type": "Unconfined"}}},
    "root": {f"{RAY}/securityContext": {"runAsUser": 0}},
    "image": {f"{RAY}/image": "rayproject/ray:latest"},
}


def reviewed(document: Object) -> ReviewedManifest:
    fresh = changed(document, {"/metadata/name": "fresh"})
    outcome = review_manifest(factory.reviewer(RESTRICTED), Manifest("test", 1, fresh), "team-a")
    assert outcome is not None
    return outcome


def messages_of_derived(review: ReviewedManifest) -> list[str]:
    return [violation.message for derived in review.derived for violation in derived.denied]


@pytest.mark.parametrize("tls", [False, True], ids=["", "with-tls-of-kuberay"])
@pytest.mark.parametrize("kind", [factory.ray_cluster, factory.ray_job], ids=["cluster", "job"])
@pytest.mark.parametrize("changes", COPIED.values(), ids=COPIED)
def test_a_copy_of_rays_container_does_not_repeat_its_violations(
    changes: Object, kind: Callable[[], Object], tls: bool
) -> None:
    document = kind()
    inside = "" if document["kind"] == "RayCluster" else "/rayClusterSpec"
    placed = {f"/spec{inside}{place[5:]}": value for place, value in changes.items()}
    if tls:
        placed[f"/spec{inside}/tlsOptions"] = {"enabled": True}
    review = reviewed(changed(document, placed))
    assert not review.allowed
    assert any("ray-worker" in violation.message for violation in review.outcome.denied)
    assert [message for message in messages_of_derived(review) if " wait-" in message] == []


def test_a_violation_that_only_the_copy_has_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_copies(rule: NoHostAccess, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container in workload.containers:
            if container.name == "wait-gcs-ready":
                yield rule.violation(
                    f"{container.title} is here", container.pointer / "env", "remove env"
                )

    monkeypatch.setattr(NoHostAccess, "check", of_copies)
    review = reviewed(factory.ray_cluster())
    assert messages_of_derived(review) == [
        "container wait-gcs-ready of the worker group small is here"
    ]


def test_another_remediation_is_another_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_pods(rule: NoHostAccess, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container in workload.containers:
            yield rule.violation(
                f"{container.title} is here", container.pointer, f"drop {container.name}"
            )

    monkeypatch.setattr(NoHostAccess, "check", of_pods)
    found = messages_of_derived(reviewed(factory.ray_cluster()))
    assert "container wait-gcs-ready of the worker group small is here" in found


def test_an_init_container_that_authors_wrote_is_reported_at_its_place() -> None:
    own = factory.container("wait-gcs-ready", securityContext={"privileged": True})
    review = reviewed(changed(factory.ray_cluster(), {f"{TEMPLATE}/initContainers": [own]}))
    place = Pointer(("spec", "workerGroupSpecs", 0, "template", "spec", "initContainers"))
    at_place = [
        violation.rule
        for violation in review.outcome.denied
        if violation.pointer[: len(place)] == place
    ]
    assert "no-privileged" in at_place


def test_a_copy_does_not_hide_a_violation_of_another_container() -> None:
    """KubeRay's autoscaler has no security context of Ray's container."""
    plain = changed(
        factory.ray_cluster(enableInTreeAutoscaling=True),
        {"/spec/headGroupSpec/template/spec/containers/0/image": "registry.example/ml/train:1"},
    )
    found = [violation.message for violation in reviewed(plain).outcome.denied]
    found += messages_of_derived(reviewed(plain))
    assert "container autoscaler of the head may run as root" in found


JOBS = {
    "job": (factory.ray_job, "/spec"),
    "cron-job": (factory.ray_cron_job, "/spec/jobTemplate"),
}
SUBMITTER = "ray-job-submitter"


def in_mode(mode: str, kind: str = "job", **options: object) -> Object:
    """A RayJob or RayCronJob with this submission mode and these options of its cluster."""
    create, place = JOBS[kind]
    cluster = {f"{place}/rayClusterSpec/{name}": value for name, value in options.items()}
    return changed(create(), {f"{place}/submissionMode": mode, **cluster})


def submitters(review: ReviewedManifest, kind: str) -> list[Object]:
    """The submitters in the derived objects of a kind, which is RayCluster or Pod."""
    containers = [
        container.raw
        for derived in review.derived
        if derived.kind == kind
        for container in Workload(kind, derived.document).containers
    ]
    return [dict(container) for container in containers if container["name"] == SUBMITTER]


@pytest.mark.parametrize("kind", JOBS)
def test_a_head_submits_the_job_in_sidecar_mode(kind: str) -> None:
    document = in_mode("SidecarMode", kind)
    before = copy.deepcopy(document)
    review = reviewed(document)
    assert document == before
    assert [derived.kind for derived in review.derived] == ["RayCluster", "Pod", "Pod"]
    cluster, head, worker = (derived.document for derived in review.derived)
    assert head["spec"]["containers"][-1]["name"] == SUBMITTER
    assert head["spec"]["restartPolicy"] == "Never"
    assert [container["name"] for container in worker["spec"]["containers"]] == ["ray-worker"]
    assert cluster["spec"]["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize("mode", ["", "K8sJobMode", "HTTPMode", "InteractiveMode"])
def test_no_head_submits_the_job_in_other_modes(mode: str, kind: str) -> None:
    review = reviewed(in_mode(mode, kind))
    assert submitters(review, "RayCluster") == []
    heads = [item.document for item in review.derived if "-head-" in item.name]
    assert heads and all(len(head["spec"]["containers"]) == 1 for head in heads)


def test_a_sidecar_gets_the_token_and_the_certificate_of_its_pod() -> None:
    (submitter,) = submitters(reviewed(in_mode("SidecarMode")), "Pod")
    token = {"secretKeyRef": {"name": "fresh-xxxxx", "key": "auth_token"}}
    assert {"name": "RAY_AUTH_MODE", "value": "token"} in submitter["env"]
    assert {"name": "RAY_AUTH_TOKEN", "valueFrom": token} in submitter["env"]
    assert {"name": "RAY_USE_TLS", "value": "1"} in submitter["env"]
    assert [mount["mountPath"] for mount in submitter["volumeMounts"]] == ["/etc/ray/tls"]


def test_kuberay_gives_the_token_that_an_author_asked_for() -> None:
    options = {"mode": "token", "secretName": "ours"}
    review = reviewed(in_mode("SidecarMode", authOptions=options))
    token = {"secretKeyRef": {"name": "ours", "key": "auth_token"}}
    for kind in ("RayCluster", "Pod"):
        (submitter,) = submitters(review, kind)
        assert {"name": "RAY_AUTH_TOKEN", "valueFrom": token} in submitter["env"]


def test_what_only_the_sidecar_lacks_is_reported() -> None:
    """Settings of Ray's own container do not cover the container that KubeRay adds."""
    head = "/spec/rayClusterSpec/headGroupSpec/template/spec/containers/0"
    document = changed(
        in_mode("SidecarMode"),
        {
            f"{head}/image": "registry.example/ml/train:1",
            f"{head}/securityContext": {"runAsNonRoot": True, "runAsUser": 1000},
        },
    )
    review = reviewed(document)
    assert messages_of_derived(review) == [f"container {SUBMITTER} of the head may run as root"]


@pytest.mark.parametrize("containers", [None, [], "ray", ["ray"], {"name": "ray-head"}])
def test_a_head_without_a_container_gets_no_sidecar(containers: object) -> None:
    head = "/spec/rayClusterSpec/headGroupSpec/template/spec"
    review = reviewed(changed(in_mode("SidecarMode"), {f"{head}/containers": containers}))
    assert submitters(review, "RayCluster") == []


@pytest.mark.parametrize("name", ["a", "\udcff"])
def test_an_object_is_as_large_as_its_text_or_its_values(name: str) -> None:
    """A name that is no UTF-8 must not spare an object from being counted."""
    for number, is_refused in ((10, False), (60_000, True)):
        place = "/spec/headGroupSpec/template/spec/containers/0/env"
        variables = [{"name": name, "value": ""}] * number
        cluster = changed(factory.ray_cluster(), {place: variables})
        request = request_of(cluster, "team-a")
        request.measure()
        assert (request.size is None) is (name != "a")
        result = review_manifest(factory.reviewer(), Manifest("a", 1, cluster), "team-a")
        assert result is not None
        rules = {violation.rule for violation in result.outcome.denied}
        assert ("size" in rules) is is_refused
