"""A review of a manifest and of what KubeRay creates from it: each cause is reported once."""

from collections.abc import Callable, Iterator

import pytest

from policies.documents.pointer import Pointer
from policies.model import Facts, Violation
from policies.ray.workload import Workload
from policies.rules.no_host_access import NoHostAccess
from tests.support import factory
from tests.support.factory import Object, changed
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
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
        for container, title in workload.containers:
            if container.name == "wait-gcs-ready":
                yield rule.violation(f"{title} is here", container.pointer / "env", "remove env")

    monkeypatch.setattr(NoHostAccess, "check", of_copies)
    review = reviewed(factory.ray_cluster())
    assert messages_of_derived(review) == [
        "container wait-gcs-ready of the worker group small is here"
    ]


def test_another_remediation_is_another_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    def of_pods(rule: NoHostAccess, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.containers:
            yield rule.violation(f"{title} is here", container.pointer, f"drop {container.name}")

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
