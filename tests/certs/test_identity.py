"""Who may enroll, and as whom: from live objects alone."""

from typing import Any

import pytest
from cryptography import x509

from certs.identity import Domains, Identity, NotAllowedError, Role, Service, identify, membership
from tests.support import live_objects
from tests.support.factory import Object, changed
from webhook.kube.objects import caller_of, opted_in_cluster_of, pod_of, ray_cluster_of, service_of


def identity(
    document: Object, ray_cluster: Object | None = None, *services: Object, **domains: Any
) -> Identity:
    pod = pod_of(document)
    claim = membership(live_objects.caller(document), pod)
    if claim.uid:
        owner = ray_cluster_of(ray_cluster or live_objects.ray_cluster())
    else:
        owner = opted_in_cluster_of(live_objects.namespace(), claim.cluster)
    return identify(claim, pod, owner, map(service_of, services), Domains(**domains))


def names(found: Identity) -> list[str]:
    return [str(name.value) for name in found.names]


def forms(service: str) -> list[str]:
    return [service + end for end in ("", ".team-a", ".team-a.svc", ".team-a.svc.cluster.local")]


def test_a_head_holds_its_addresses_loopback_and_the_names_of_its_service() -> None:
    document = changed(
        live_objects.pod(), {"/status/podIPs": [{"ip": "127.0.0.1"}, {"ip": "fd00::7"}]}
    )
    found = identity(document)
    assert found.role is Role.HEAD
    assert names(found) == [
        "127.0.0.1",
        "fd00::7",
        "::1",
        "localhost",
        *forms("demo-head-svc"),
        "spiffe://cluster.local/ns/team-a/ray/demo/head",
    ]


def test_a_worker_does_not_hold_the_names_of_the_head() -> None:
    found = identity(live_objects.pod("w", "worker", "10.0.0.9"))
    assert names(found) == [
        "10.0.0.9",
        "127.0.0.1",
        "::1",
        "localhost",
        "spiffe://cluster.local/ns/team-a/ray/demo/worker",
    ]


def test_a_client_gets_no_name_it_could_serve_under() -> None:
    found = identity(live_objects.opted_in_pod("web", "client", "10.0.0.9"))
    assert names(found) == [
        "10.0.0.9",
        "spiffe://cluster.local/ns/team-a/ray-opted-in/django/client",
    ]


def test_names_follow_the_services_that_select_the_pod() -> None:
    services = [
        live_objects.service("by-role", **{"ray.io/node-type": "head"}),
        live_objects.service("also-mine", **{"ray.io/cluster": "demo"}),
        live_objects.service("of-another", **{"ray.io/cluster": "other"}),
        live_objects.service("too-much", **{"ray.io/cluster": "demo", "team": "a"}),
        live_objects.service("selects-nothing"),
        live_objects.service("demo-head-svc", **{"ray.io/cluster": "demo"}),
    ]
    hosts = [
        name
        for name in names(identity(live_objects.pod(), None, *services))
        if "." not in name and ":" not in name
    ]
    assert hosts == ["localhost", "demo-head-svc", "also-mine", "by-role"]


@pytest.mark.parametrize("kind", ["RayService", "RayJob"])
def test_the_head_answers_to_the_service_kuberay_names_after_its_maker(kind: str) -> None:
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": kind,
        "name": "serving",
        "uid": "u",
        "controller": True,
    }
    ray_cluster = changed(live_objects.ray_cluster(), {"/metadata/ownerReferences": [owner]})
    assert set(forms("serving-head-svc")) <= set(names(identity(live_objects.pod(), ray_cluster)))
    somebody = changed(ray_cluster, {"/metadata/ownerReferences/0/apiVersion": "example.com/v1"})
    assert "serving-head-svc" not in names(identity(live_objects.pod(), somebody))


def test_a_custom_head_service_is_a_name_of_the_head() -> None:
    ray_cluster = live_objects.ray_cluster(
        headGroupSpec={"headService": {"metadata": {"name": "my-head"}}}
    )
    assert set(forms("my-head")) <= set(names(identity(live_objects.pod(), ray_cluster)))


@pytest.mark.parametrize(
    "name",
    ["*", "evil.example.com", "kubernetes.default", "-x", "x-", "X", "a" * 64, "1abc", "é", "a b"],
)
def test_what_no_service_can_be_called_is_no_name(name: str) -> None:
    ray_cluster = live_objects.ray_cluster(
        headGroupSpec={"headService": {"metadata": {"name": name}}}
    )
    assert not [
        one for one in names(identity(live_objects.pod(), ray_cluster)) if one.startswith(name)
    ]


def test_a_certificate_stays_small_however_many_services_select_the_pod() -> None:
    for length in (5, 63):
        services = [
            live_objects.service(f"s{number:0{length - 1}}", **{"ray.io/cluster": "demo"})
            for number in range(1000)
        ]
        found = names(identity(live_objects.pod(), None, *services))
        assert "demo-head-svc" in found and services[0]["metadata"]["name"] in found
        assert 3000 < sum(map(len, found)) < 4500


def test_under_a_root_names_that_others_may_own_are_left_out() -> None:
    services = [live_objects.service("mail", **{"ray.io/cluster": "demo"})]
    found = names(identity(live_objects.pod(), None, *services, short_names=False))
    assert {"mail.team-a.svc", "mail.team-a.svc.cluster.local", "demo-head-svc.team-a.svc"} <= set(
        found
    )
    assert not {"mail", "mail.team-a", "demo-head-svc"} & set(found)


def test_a_cluster_that_is_being_deleted_has_no_new_members() -> None:
    dying = changed(
        live_objects.ray_cluster(), {"/metadata/deletionTimestamp": live_objects.CREATED}
    )
    with pytest.raises(NotAllowedError, match="does not exist any more, or is being deleted"):
        identity(live_objects.pod(), dying)


def test_domains_are_the_administrators() -> None:
    found = names(identity(live_objects.pod(), cluster="k8s.example", trust="corp.example"))
    assert "demo-head-svc.team-a.svc.k8s.example" in found
    assert "spiffe://corp.example/ns/team-a/ray/demo/head" in found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"/metadata/uid": "another"}, "does not exist any more"),
        ({"/metadata/deletionTimestamp": "2026-11-20T09:00:00Z"}, "ended or is being deleted"),
        ({"/status/phase": "Succeeded"}, "ended"),
        ({"/status/phase": "Failed"}, "ended"),
        ({"/spec/serviceAccountName": "other"}, "of another service account"),
        ({"/metadata/labels": {}}, "not of Ray"),
        ({"/metadata/labels": None}, "not of Ray"),
        (
            {"/metadata/labels/ray.io~1cluster": "victim"},
            "label ray.io/cluster: victim but is not owned by",
        ),
        ({"/metadata/ownerReferences": []}, "not owned by that RayCluster"),
        ({"/metadata/ownerReferences": None}, "not owned by that RayCluster"),
        ({"/metadata/ownerReferences/0/controller": False}, "not owned by that RayCluster"),
        ({"/metadata/ownerReferences/0/kind": "ReplicaSet"}, "not owned by that RayCluster"),
        (
            {"/metadata/ownerReferences/0/apiVersion": "ray.io.evil/v1"},
            "not owned by that RayCluster",
        ),
        ({"/metadata/ownerReferences/0/apiVersion": "v1"}, "not owned by that RayCluster"),
        (
            {"/metadata/ownerReferences/0/uid": "forged"},
            "RayCluster demo that owns the pod does not exist any more",
        ),
        ({"/metadata/labels/ray.io~1node-type": "redis-cleanup"}, "only head and worker pods"),
        (
            {"/metadata/labels/ray.io~1node-type": None},
            "only head and worker pods of a RayCluster get a certificate",
        ),
        ({"/metadata/labels/ray.io~1node-type": "client"}, "only head and worker pods"),
    ],
)
def test_who_gets_none_is_told_why(changes: dict[str, Any], why: str) -> None:
    original = live_objects.pod()
    document = changed(original, changes)
    claimed = live_objects.caller(original)
    with pytest.raises(NotAllowedError, match=why):
        pod = pod_of(document)
        claim = membership(claimed, pod)
        identify(claim, pod, ray_cluster_of(live_objects.ray_cluster()), (), Domains())


def test_a_pod_that_is_gone_gets_none() -> None:
    with pytest.raises(NotAllowedError, match="does not exist any more"):
        membership(live_objects.caller(live_objects.pod()), None)
    claim = membership(live_objects.caller(live_objects.pod()), pod_of(live_objects.pod()))
    with pytest.raises(NotAllowedError, match="RayCluster demo that owns the pod does not exist"):
        identify(claim, pod_of(live_objects.pod()), None, (), Domains())


def test_an_opted_in_label_does_not_lead_around_the_proof_of_ownership() -> None:
    document = changed(
        live_objects.opted_in_pod(),
        {"/metadata/labels/ray.io~1cluster": "demo", "/metadata/labels/ray.io~1node-type": "head"},
    )
    with pytest.raises(NotAllowedError, match="not owned by that RayCluster"):
        membership(live_objects.caller(document), pod_of(document))


@pytest.mark.parametrize("role", ["", "admin", "Head"])
def test_an_opted_in_pod_names_its_role(role: str) -> None:
    document = live_objects.opted_in_pod(role=role)
    with pytest.raises(NotAllowedError, match="must be head, worker or client"):
        membership(live_objects.caller(document), pod_of(document))


def test_an_opted_in_cluster_is_never_a_raycluster_of_the_same_name() -> None:
    found = identity(live_objects.opted_in_pod())
    assert (found.cluster.opted_in, found.cluster.uid, found.cluster.name) == (
        True,
        live_objects.NAMESPACE_UID,
        "django",
    )
    assert "django-head-svc" not in names(identity(live_objects.opted_in_pod(role="head")))


def test_services_select_by_every_label_and_never_by_none() -> None:
    pod = pod_of(live_objects.pod())
    assert Service("a", {"ray.io/cluster": "demo"}).selects(pod)
    assert not Service("a", {}).selects(pod)


def test_every_name_is_one_a_certificate_can_hold() -> None:
    assert x509.SubjectAlternativeName(identity(live_objects.pod()).names)


def review(changes: dict[str, Any]) -> dict[str, Any]:
    extra = {
        "authentication.kubernetes.io/pod-name": ["demo-head-abcde"],
        "authentication.kubernetes.io/pod-uid": [live_objects.POD_UID],
    }
    user = {"username": "system:serviceaccount:team-a:ray", "extra": extra}
    return changed({"authenticated": True, "audiences": ["raywarden.io"], "user": user}, changes)


def test_a_valid_token_names_its_pod() -> None:
    assert caller_of(review({}), "raywarden.io") == live_objects.caller(live_objects.pod())


@pytest.mark.parametrize(
    "changes",
    [
        {"/authenticated": False},
        {"/authenticated": "true"},
        {"/authenticated": None},
        {"/audiences": ["https://kubernetes.default.svc"]},
        {"/audiences": []},
        {"/audiences": None},
        {"/audiences": "raywarden.io"},
        {"/user/username": "admin"},
        {"/user/username": "system:serviceaccount:team-a"},
        {"/user/extra": None},
        {"/user/extra/authentication.kubernetes.io~1pod-uid": None},
        {"/user/extra/authentication.kubernetes.io~1pod-name": []},
        {"/user": "nobody"},
    ],
)
def test_any_other_answer_names_nobody(changes: dict[str, Any]) -> None:
    assert caller_of(review(changes), "raywarden.io") is None
