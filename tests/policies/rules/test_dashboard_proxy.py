"""RayWarden's proxy passes the rules; what only looks like it does not."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.model import Facts
from policies.network.ray_traffic import ClusterTraffic
from policies.ray.workload import Kind, Workload
from tests.support import factory
from tests.support.factory import Object, changed, container, facts
from tests.support.injection import OLD, after, denials, only
from tests.support.proxied import (
    ANNOTATION,
    HEAD,
    HOST,
    IMAGE,
    INJECT,
    NAME,
    proxied_cluster,
    proxying,
    sent_head,
)
from tests.support.related_objects import cluster_role

STRICT: Mapping[str, Any] = {
    "profiles": {"enforce": "restricted"},
    "rules": {
        "trusted-images": {"parameters": {"registries": ["rayproject/*"], "requireDigest": False}}
    },
}
PROXY = f"{HEAD}/spec/containers/1"
PLACE = f"/metadata/annotations/{ANNOTATION.replace('/', '~1')}"
ACCOUNT = {"kind": "ServiceAccount", "name": "ray", "namespace": "team-a"}
DELEGATOR = {"kind": "ClusterRole", "name": "system:auth-delegator"}


def refused(document: Object, own_facts: Facts) -> set[str]:
    return set(denials(document, own_facts))


def has_reserved_name(document: Object) -> bool:
    """The name of the container is refused, whatever else is."""
    verdict = validate(Kind.of(document), document, Policy.parse(None), proxying())
    return any("has a reserved name" in violation.message for violation in verdict.denied)


class TestOurs:
    @pytest.mark.parametrize("mode", ["full", "marker"])
    def test_cluster_and_pod_pass_every_rule(self, mode: str) -> None:
        policy = Policy.parse(STRICT)
        known = proxying(rayCluster=mode)
        stored = after(factory.ray_cluster(), known)
        pod = after(sent_head(stored), known)
        for document in (stored, pod):
            verdict = validate(Kind.of(document), document, policy, known)
            assert [str(violation) for violation in verdict.denied] == []

    def test_an_older_tag_passes_while_the_policy_changes(self) -> None:
        image = "registry.example/kube-rbac-proxy:v1"
        pod = after(sent_head(proxied_cluster()), proxying(dashboardProxyImage=image))
        assert refused(pod, proxying()) == set()

    def test_a_stored_cluster_passes_whatever_the_policy_says(self) -> None:
        stored = proxied_cluster()
        for inject in ({}, {**INJECT, "dashboardProxyImage": "registry.example/other:2"}):
            assert refused(stored, facts(OLD, stored, **inject)) == set()

    def test_a_pod_keeps_its_proxy_without_a_policy(self) -> None:
        assert refused(after(sent_head(proxied_cluster())), facts()) == set()

    def test_it_counts_as_authentication(self) -> None:
        stored = proxied_cluster(**{"/spec/authOptions": {"mode": "disabled"}})
        verdict = validate(Kind.of(stored), stored, Policy.parse(STRICT), proxying())
        assert "auth-on" not in [violation.rule for violation in verdict.denied]
        plain = after(factory.ray_cluster(authOptions={"mode": "disabled"}))
        verdict = validate(Kind.of(plain), plain, Policy.parse(STRICT), facts())
        assert "auth-on" in [violation.rule for violation in verdict.denied]

    def test_the_api_server_must_be_in_reach(self) -> None:
        marked = after(factory.ray_cluster(), proxying(rayCluster="marker"))
        for stored in (proxied_cluster(), marked):
            assert ClusterTraffic.of(Workload("RayCluster", stored)).reaches_api_server
        plain = after(factory.ray_cluster())
        assert not ClusterTraffic.of(Workload("RayCluster", plain)).reaches_api_server


class TestLookAlikes:
    @pytest.mark.parametrize(
        "change",
        [
            {"image": "registry.example/own:1"},
            {"command": ["sh", "-c", "cat /etc/ray/tls/tls.key"]},
            {"args": ["--upstream=http://localhost:8265/"]},
            {"env": []},
            {"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}},
            {"volumeMounts": []},
            {"securityContext": {}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_in_a_pod(self, change: Object) -> None:
        pod = after(sent_head(proxied_cluster()), proxying())
        only(pod, NAME).update(change)
        assert "reserved-names" in refused(pod, proxying())

    def test_in_a_cluster(self) -> None:
        stored = proxied_cluster()
        forged = changed(stored, {f"{PROXY}/image": "registry.example/own:1"})
        assert "reserved-names" in refused(forged, proxying())
        assert "reserved-names" in refused(forged, proxying(OLD, stored))
        assert "reserved-names" in refused(stored, facts())

    @pytest.mark.parametrize("make", [factory.ray_job, factory.ray_service])
    def test_in_another_kind(self, make: Any) -> None:
        document = make()
        spec = proxied_cluster()["spec"]
        field = "rayClusterSpec" if "rayClusterSpec" in document["spec"] else "rayClusterConfig"
        document["spec"][field] = spec
        assert has_reserved_name(document)

    def test_in_a_pod_without_kuberay(self) -> None:
        pod = factory.opted_in_pod("head")
        pod["metadata"]["annotations"] = {ANNOTATION: "{}"}
        pod["spec"]["containers"].append(only(sent_head(proxied_cluster()), NAME))
        assert has_reserved_name(pod)

    def test_in_a_worker(self) -> None:
        proxy = only(sent_head(proxied_cluster()), NAME)
        place = "/spec/workerGroupSpecs/0/template/spec/containers/-"
        document = changed(factory.ray_cluster(), {place: proxy})
        assert "reserved-names" in refused(document, proxying())

    @pytest.mark.parametrize("volume", ["raywarden-api-token", "raywarden-dashboard"])
    def test_another_container_with_its_volumes(self, volume: str) -> None:
        mount = {"name": volume, "mountPath": "/stolen"}
        own = container("own", image="registry.example/own:1", volumeMounts=[mount])
        document = changed(proxied_cluster(), {f"{HEAD}/spec/containers/-": own})
        assert "reserved-names" in refused(document, proxying())

    def test_another_authorization(self) -> None:
        pod = after(sent_head(proxied_cluster()), proxying())
        open_to_all = json.dumps({"authorization": {"static": [{"resourceRequest": True}]}})
        forged = changed(pod, {PLACE: open_to_all})
        assert "reserved-names" in refused(forged, proxying())
        assert "reserved-names" in refused(forged, proxying(OLD, pod))

    def test_an_open_dashboard_beside_the_proxy(self) -> None:
        stored = proxied_cluster()
        opened = changed(stored, {HOST: "0.0.0.0"})
        assert "reserved-names" in refused(opened, proxying(OLD, stored))


class TestRights:
    def warned(self, *related_objects: Object) -> list[str]:
        reviewer = factory.reviewer({"inject": INJECT}, *related_objects)
        verdict = reviewer.verdict(factory.request(proxied_cluster()))
        return [f"{violation.message} {violation.remediation}" for violation in verdict.warned]

    def test_the_missing_binding_is_named(self) -> None:
        (warning,) = (text for text in self.warned() if "TokenReviews" in text)
        assert warning.startswith("the proxy in front of the dashboard")
        assert "kind: ClusterRoleBinding" in warning
        assert "ray:write" not in warning

    def test_with_the_binding_nothing_is_missing(self) -> None:
        _, binding = cluster_role("ray-tokens", [ACCOUNT])
        bound = {**binding, "roleRef": DELEGATOR}
        assert not any("TokenReviews" in text for text in self.warned(bound))

    def test_its_token_is_not_rays(self) -> None:
        """Ray's jobs cannot use the rights of an account whose token only the proxy has."""
        powerful = cluster_role("reader", [ACCOUNT], ("", "secrets", "get"))
        assert not any("may read Secrets" in text for text in self.warned(*powerful))
        shared = proxied_cluster(**{f"{HEAD}/spec/shareProcessNamespace": True})
        reviewer = factory.reviewer({"inject": INJECT}, *powerful)
        verdict = reviewer.verdict(factory.request(shared))
        assert "no-powerful-service-account" in [
            violation.rule for violation in (*verdict.denied, *verdict.warned)
        ]


def test_the_image_is_the_administrators() -> None:
    assert IMAGE in proxying().own_images
