"""Which pods may enroll, and under which names, follows from live objects alone."""

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


def names(identity: Identity) -> list[str]:
    return [str(name.value) for name in identity.names]


def forms(service: str) -> list[str]:
    return [service + end for end in ("", ".team-a", ".team-a.svc", ".team-a.svc.cluster.local")]


def test_a_head_holds_its_addresses_loopback_and_the_names_of_its_service() -> None:
    document = changed(
        live_objects.pod(), {"/status/podIPs": [{"ip": "127.0.0.1"}, {"ip": "fd00::7"}]}
    )
    head = identity(document)
    assert head.role is Role.HEAD
    assert names(head) == [
        "127.0.0.1",
        "fd00::7",
        "::1",
        "localhost",
        *forms("demo-head-svc"),
        "spiffe://cluster.local/ns/team-a/ray/demo/head",
    ]


def test_a_pod_with_a_host_name_holds_its_own_dns_name() -> None:
    """As the pods of a StatefulSet have, and those of KubeRay that register under their names."""
    worker = live_objects.pod("w", "worker", "10.0.0.9")
    host = {"/spec/hostname": "w-0", "/spec/subdomain": "demo-workers"}
    name = "w-0.demo-workers.team-a.svc"
    assert names(identity(changed(worker, host)))[4:6] == [name, f"{name}.cluster.local"]
    # The API server refuses such names; another source of the object may not.
    for wrong in ("*", "a.b", "W", "", "-", 5, "a" * 64):
        for field in host:
            document = changed(worker, {**host, field: wrong})
            assert names(identity(document)) == names(identity(worker))


def test_a_worker_does_not_hold_the_names_of_the_head() -> None:
    worker = identity(live_objects.pod("w", "worker", "10.0.0.9"))
    assert names(worker) == [
        "10.0.0.9",
        "127.0.0.1",
        "::1",
        "localhost",
        "spiffe://cluster.local/ns/team-a/ray/demo/worker",
    ]


def test_a_client_gets_no_name_of_a_server() -> None:
    client = identity(live_objects.opted_in_pod("web", "client", "10.0.0.9"))
    assert names(client) == [
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
def test_the_head_holds_the_name_of_the_service_of_its_rayservice_or_rayjob(kind: str) -> None:
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": kind,
        "name": "serving",
        "uid": "u",
        "controller": True,
    }
    ray_cluster = changed(live_objects.ray_cluster(), {"/metadata/ownerReferences": [owner]})
    assert set(forms("serving-head-svc")) <= set(names(identity(live_objects.pod(), ray_cluster)))
    other_owner = changed(ray_cluster, {"/metadata/ownerReferences/0/apiVersion": "example.com/v1"})
    assert "serving-head-svc" not in names(identity(live_objects.pod(), other_owner))


def test_the_head_holds_the_name_of_a_custom_head_service() -> None:
    ray_cluster = live_objects.ray_cluster(
        headGroupSpec={"headService": {"metadata": {"name": "my-head"}}}
    )
    assert set(forms("my-head")) <= set(names(identity(live_objects.pod(), ray_cluster)))


@pytest.mark.parametrize(
    "name",
    ["*", "evil.example.com", "kubernetes.default", "-x", "x-", "X", "a" * 64, "1abc", "é", "a b"],
)
def test_a_certificate_holds_no_name_that_a_service_cannot_have(name: str) -> None:
    ray_cluster = live_objects.ray_cluster(
        headGroupSpec={"headService": {"metadata": {"name": name}}}
    )
    certified = names(identity(live_objects.pod(), ray_cluster))
    assert not [host for host in certified if host.startswith(name)]


def test_a_certificate_stays_small_however_many_services_select_the_pod() -> None:
    for length in (5, 63):
        services = [
            live_objects.service(f"s{number:0{length - 1}}", **{"ray.io/cluster": "demo"})
            for number in range(1000)
        ]
        certified = names(identity(live_objects.pod(), None, *services))
        assert "demo-head-svc" in certified and services[0]["metadata"]["name"] in certified
        assert 3000 < sum(map(len, certified)) < 4500


def test_below_a_root_certificates_hold_no_short_names() -> None:
    services = [live_objects.service("mail", **{"ray.io/cluster": "demo"})]
    certified = set(names(identity(live_objects.pod(), None, *services, short_names=False)))
    full = {"mail.team-a.svc", "mail.team-a.svc.cluster.local", "demo-head-svc.team-a.svc"}
    assert full <= certified
    assert not {"mail", "mail.team-a", "demo-head-svc"} & certified


def test_a_cluster_that_is_being_deleted_has_no_new_members() -> None:
    dying = changed(
        live_objects.ray_cluster(), {"/metadata/deletionTimestamp": live_objects.CREATED}
    )
    with pytest.raises(NotAllowedError, match="no longer exists or is being deleted"):
        identity(live_objects.pod(), dying)


def test_the_domains_are_configurable() -> None:
    certified = names(identity(live_objects.pod(), cluster="k8s.example", trust="corp.example"))
    assert "demo-head-svc.team-a.svc.k8s.example" in certified
    assert "spiffe://corp.example/ns/team-a/ray/demo/head" in certified


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"/metadata/uid": "another"}, "no longer exists"),
        ({"/metadata/deletionTimestamp": "2026-11-20T09:00:00Z"}, "terminated or is being deleted"),
        ({"/status/phase": "Succeeded"}, "terminated"),
        ({"/status/phase": "Failed"}, "terminated"),
        ({"/spec/serviceAccountName": "other"}, "runs as another service account"),
        ({"/metadata/labels": {}}, "does not belong to a Ray cluster"),
        ({"/metadata/labels": None}, "does not belong to a Ray cluster"),
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
            "RayCluster demo that owns the pod no longer exists",
        ),
        ({"/metadata/labels/ray.io~1node-type": "redis-cleanup"}, "only head and worker pods"),
        (
            {"/metadata/labels/ray.io~1node-type": None},
            "only head and worker pods of a RayCluster get a certificate",
        ),
        ({"/metadata/labels/ray.io~1node-type": "client"}, "only head and worker pods"),
    ],
)
def test_a_refusal_tells_the_caller_why(changes: dict[str, Any], why: str) -> None:
    original = live_objects.pod()
    document = changed(original, changes)
    caller = live_objects.caller(original)
    with pytest.raises(NotAllowedError, match=why):
        pod = pod_of(document)
        claim = membership(caller, pod)
        identify(claim, pod, ray_cluster_of(live_objects.ray_cluster()), (), Domains())


def test_a_pod_or_cluster_that_no_longer_exists_gets_no_certificate() -> None:
    with pytest.raises(NotAllowedError, match="no longer exists"):
        membership(live_objects.caller(live_objects.pod()), None)
    claim = membership(live_objects.caller(live_objects.pod()), pod_of(live_objects.pod()))
    with pytest.raises(NotAllowedError, match="RayCluster demo that owns the pod no longer exists"):
        identify(claim, pod_of(live_objects.pod()), None, (), Domains())


def test_the_opt_in_label_does_not_bypass_the_check_of_the_owner() -> None:
    document = changed(
        live_objects.opted_in_pod(),
        {"/metadata/labels/ray.io~1cluster": "demo", "/metadata/labels/ray.io~1node-type": "head"},
    )
    with pytest.raises(NotAllowedError, match="not owned by that RayCluster"):
        membership(live_objects.caller(document), pod_of(document))


@pytest.mark.parametrize("role", ["", "admin", "Head"])
def test_an_opted_in_pod_must_name_a_valid_role(role: str) -> None:
    document = live_objects.opted_in_pod(role=role)
    with pytest.raises(NotAllowedError, match="must be head, worker or client"):
        membership(live_objects.caller(document), pod_of(document))


def test_an_opted_in_cluster_is_never_a_raycluster_of_the_same_name() -> None:
    cluster = identity(live_objects.opted_in_pod()).cluster
    assert cluster.opted_in
    assert (cluster.uid, cluster.name) == (live_objects.NAMESPACE_UID, "django")
    assert "django-head-svc" not in names(identity(live_objects.opted_in_pod(role="head")))


def test_a_service_with_an_empty_selector_selects_no_pod() -> None:
    pod = pod_of(live_objects.pod())
    assert Service("a", {"ray.io/cluster": "demo"}).selects(pod)
    assert not Service("a", {}).selects(pod)


def test_a_certificate_can_hold_every_name() -> None:
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
        {"/user": "not an object"},
    ],
)
def test_any_other_token_review_names_no_pod(changes: dict[str, Any]) -> None:
    assert caller_of(review(changes), "raywarden.io") is None
