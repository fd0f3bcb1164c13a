"""Programs that connect to Ray: which addresses count, and what to write; nothing is refused."""

from typing import Any

import pytest

from policies.cluster.size import MAX_RELATED_VALUES
from policies.model import Violation
from tests.support import factory, registration, related_objects
from tests.support.factory import Object, changed, request

_CONTAINER = "/spec/template/spec/containers/0"
_ADDRESS = f"{_CONTAINER}/env/0/value"
_LABELS = "label the pods raywarden.io/cluster: {} and raywarden.io/role: client"


def connecting_to(address: Any) -> Object:
    return changed(related_objects.ray_client(), {_ADDRESS: address})


def warnings(document: Object, *others: Object) -> list[Violation]:
    verdict = factory.reviewer(None, *others).verdict(request(document))
    assert (verdict.denied, verdict.failed) == ((), ())
    return [violation for violation in verdict.warned if violation.rule == "ray-client-tls"]


def service(selector: dict[str, str]) -> Object:
    return changed(related_objects.service(selector=selector), {"/metadata/name": "web-head"})


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "ray://web-head:10001",
            "ray://web-head.team-a:10001/",
            "web-head.team-a.svc.cluster.local.:6379",
            " ray://10.0.0.9:10001 ",
            "ray://[fd00::9]:10001",
            "ray://$(HEAD):10001",
        ],
    )
    def test_an_address_in_another_pod_counts(self, address: str) -> None:
        assert len(warnings(connecting_to(address))) == 1

    @pytest.mark.parametrize(
        "address",
        [
            "auto",
            "local",
            "",
            "http://web-head:8265",
            "ray://127.0.0.1:10001",
            "localhost:6379",
            "ray://ray.example.com:10001",
            "ray://web-head:10001/" + "a" * 1000,
            7,
            None,
        ],
    )
    def test_any_other_text_does_not(self, address: Any) -> None:
        assert warnings(connecting_to(address)) == []

    def test_only_literals_count(self) -> None:
        source = {"configMapKeyRef": {"name": "ray", "key": "address"}}
        entry = {"name": "RAY_ADDRESS", "valueFrom": source}
        document = changed(related_objects.ray_client(), {f"{_CONTAINER}/env": [entry]})
        assert warnings(document) == []

    def test_every_container_counts(self) -> None:
        container = related_objects.ray_client()["spec"]["template"]["spec"]["containers"][0]
        wait = {**container, "name": "wait"}
        document = changed(
            related_objects.ray_client(), {"/spec/template/spec/initContainers": [wait]}
        )
        places = [str(violation.pointer) for violation in warnings(document)]
        assert places == [f"{_CONTAINER}/env/0", "/spec/template/spec/initContainers/0/env/0"]


class TestRemediation:
    def test_the_name_of_the_cluster_is_that_of_its_service(self) -> None:
        head = service({"raywarden.io/cluster": "shop", "raywarden.io/role": "head"})
        (violation,) = warnings(connecting_to("ray://web-head:10001"), head)
        assert violation.remediation == _LABELS.format("shop")

    def test_an_unknown_service(self) -> None:
        (violation,) = warnings(connecting_to("ray://web-head:10001"))
        assert violation.remediation.startswith(_LABELS.format("NAME"))

    def test_clients_of_kuberays_clusters_cannot_opt_in(self) -> None:
        head = service({"ray.io/cluster": "train", "ray.io/node-type": "head"})
        (by_selector,) = warnings(connecting_to("ray://web-head:10001"), head)
        (by_name,) = warnings(connecting_to("ray://train-head-svc.ml.svc:10001"))
        assert by_selector.remediation == by_name.remediation
        assert by_name.remediation.startswith("run the program as a RayJob")

    def test_a_cluster_and_its_clients_share_a_namespace(self) -> None:
        (violation,) = warnings(connecting_to("ray://web-head.shop:10001"))
        assert violation.remediation.startswith("run it in the namespace shop")


class TestNothingIsRefused:
    """RayWarden only warns about objects that are not Ray's."""

    def test_by_other_rules(self) -> None:
        unsafe = changed(
            related_objects.ray_client(),
            {
                "/spec/template/spec/hostNetwork": True,
                f"{_CONTAINER}/securityContext": {"privileged": True},
            },
        )
        reviewer = factory.reviewer({"profiles": {"enforce": "restricted"}})
        verdict = reviewer.verdict(request(unsafe))
        assert verdict.denied == ()
        assert [violation.rule for violation in verdict.warned] == ["ray-client-tls"]

    def test_by_the_administrators_expressions(self) -> None:
        rule = {
            "id": "own-nothing",
            "expression": "false",
            "message": "no object is good enough",
            "remediation": "give up",
        }
        verdict = factory.reviewer({"expressions": [rule]}).verdict(
            request(related_objects.ray_client())
        )
        assert (verdict.denied, verdict.failed) == ((), ())

    def test_for_its_size(self) -> None:
        env = [*({"name": "A"} for _ in range(MAX_RELATED_VALUES // 2 + 1))]
        entry = {"name": "RAY_ADDRESS", "value": "ray://web-head:10001"}
        large = changed(related_objects.ray_client(), {f"{_CONTAINER}/env": [*env, entry]})
        assert len(warnings(large)) == 1

    def test_nothing_is_injected(self) -> None:
        for document in (related_objects.ray_client(), job()):
            assert factory.reviewer().mutated(request(document)).operations == []


class TestRequests:
    """Which requests the API server sends."""

    def test_objects_whose_warnings_somebody_reads(self) -> None:
        assert sent(related_objects.ray_client()) == ["clients.raywarden.io"]
        assert sent(job()) == ["clients.raywarden.io"]
        assert sent(pod()) == ["clients.raywarden.io"]

    def test_objects_of_controllers_are_not_sent(self) -> None:
        owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "controller": True}
        owned = changed(pod(), {"/metadata/ownerReferences": [owner]})
        assert sent(owned) == [] == warnings(owned)

    @pytest.mark.parametrize("address", ["http://web-head:8265", "auto"])
    def test_other_addresses_are_not_sent(self, address: str) -> None:
        assert sent(connecting_to(address)) == []

    def test_a_client_that_opted_in_is_sent_once(self) -> None:
        labels = {"raywarden.io/cluster": "web", "raywarden.io/role": "client"}
        opted_in = changed(related_objects.ray_client(), {"/spec/template/metadata/labels": labels})
        assert sent(opted_in) == ["templates.raywarden.io"]
        assert warnings(opted_in) == []

    def test_only_updates_of_the_spec_are_sent(self) -> None:
        stored = related_objects.ray_client()
        annotated = changed(stored, {"/metadata/annotations": {"a": "b"}})
        assert registration.called("validate", request(annotated, "UPDATE", stored)) == []
        scaled = changed(stored, {"/spec/replicas": 2})
        called = registration.called("validate", request(scaled, "UPDATE", stored))
        assert called == ["clients.raywarden.io"]


def sent(document: Object) -> list[str]:
    return registration.called("validate", request(document))


def pod() -> Object:
    template = related_objects.ray_client()["spec"]["template"]
    metadata = {"name": "web-0", "namespace": "team-a"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def job() -> Object:
    return {**related_objects.ray_client(), "apiVersion": "batch/v1", "kind": "Job"}
