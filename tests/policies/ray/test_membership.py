"""What makes a pod Ray's: one answer for the rules, the match conditions and the signer."""

from itertools import product
from operator import itemgetter
from typing import Any

import pytest

from certs.identity import LivePod, NotAllowedError, Owner, TokenIdentity, membership
from policies.documents.pointer import ROOT
from policies.ray.membership import CLAIM_LABELS, claims_in, has_claims, has_opted_in, ray_pod
from policies.ray.pod import PodRole
from policies.ray.workload import Kind, Workload
from tests.support import factory, registration
from tests.support.factory import Object

_VALUES: dict[str, tuple[str, ...]] = {
    "ray.io/cluster": ("", "demo"),
    "ray.io/node-type": ("", "head", "redis-cleanup", "client"),
    "ray.io/group": ("", "small"),
    "ray.io/originated-from-crd": ("", "RayJob"),
    "raywarden.io/cluster": ("", "mine"),
    "raywarden.io/role": ("", "worker"),
}
# Every combination of the labels that matter; an empty value means that the label is missing.
LABELS = [
    dict(filter(itemgetter(1), zip(_VALUES, values, strict=True)))
    for values in product(*_VALUES.values())
]
OWNER = Owner("ray.io", "RayCluster", "demo", "uid")


def pod(labels: Any, *command: str) -> Object:
    metadata = {"name": "x", "namespace": "team-a", "labels": labels}
    spec = {"containers": [{"name": "x", "image": "mine:1", "command": list(command)}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def deployment(document: Object) -> Object:
    template = {"metadata": {"labels": document["metadata"]["labels"]}, "spec": document["spec"]}
    metadata = {"name": "x", "namespace": "team-a"}
    spec = {"template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def enrolls(labels: dict[str, str], owner: Owner | None) -> bool:
    """The signer would give a pod with these labels a certificate."""
    live = LivePod("team-a", "x", "uid", labels, owner, "ray", (), ended=False)
    try:
        membership(TokenIdentity("team-a", "ray", "x", "uid"), live)
    except NotAllowedError:
        return False
    return True


@pytest.mark.parametrize("command", [("ray", "start"), ("sleep", "1")])
def test_every_pod_and_template_of_ray_is_sent(command: tuple[str, ...]) -> None:
    for labels in LABELS:
        document = pod(labels, *command)
        for sent in (document, deployment(document)):
            view = Workload.of(Kind.of(sent), sent)
            if view is not None:
                assert registration.reaches("validate", factory.request(sent)), labels
            if view is not None and sent is document and labels:
                assert registration.reaches("mutate", factory.request(sent)), labels


def test_the_signer_serves_only_members() -> None:
    for labels in LABELS:
        view = ray_pod("Pod", pod(labels), ROOT)
        can_enroll = view is not None and view.role is not PodRole.SUBMITTER
        for owner in (None, OWNER):
            if enrolls(labels, owner):
                assert can_enroll, labels
                assert has_opted_in(labels) or (owner is OWNER and has_claims(labels)), labels


@pytest.mark.parametrize("label", CLAIM_LABELS)
def test_one_claim_is_enough(label: str) -> None:
    labels = {label: "x", "raywarden.io/cluster": "mine"}
    assert has_claims(labels) and claims_in(labels) == {label: "x"}
    assert not has_opted_in(labels)
    view = ray_pod("Pod", pod(labels), ROOT)
    assert view is not None and view.role is PodRole.WORKER


@pytest.mark.parametrize("value", [None, 1, True, [], {}, [{}], "x"])
def test_strange_values_do_not_raise(value: Any) -> None:
    """The API server rejects them after a rule has seen them."""
    owners = {"ownerReferences": value}
    for labels in (value, {"ray.io/node-type": value}, {"ray.io/node-type": "redis-cleanup"}):
        document = pod(labels, "ray", "start")
        document["metadata"] |= owners
        assert ray_pod("Pod", document, ROOT) is not None
    document = pod({}, "ray", "start")
    document["spec"]["containers"] += [value, {"command": value, "args": value, "lifecycle": value}]
    document["spec"]["containers"].append({"livenessProbe": {"exec": value}, "env": [value]})
    assert ray_pod("Pod", document, ROOT) is not None
