"""What the API server leaves out of what it sends to us, by the conditions of `deploy/base`."""

from typing import Any

import pytest

from policies.ray import workload
from tests.support import factory, registration, related_objects
from tests.support.factory import Object, changed


class TestConditions:
    """What is left out of what is sent; that nothing is left out which a rule refuses, `tests/policies/rules/test_rules.py` and
    `tests/bypasses` show with every object they have.
    """

    @pytest.mark.parametrize(
        "document",
        [
            {
                "kind": "Pod",
                "spec": {"containers": [{"name": "web", "image": "nginx:1.29", "args": ["start"]}]},
            },
            {
                "kind": "Service",
                "spec": {"selector": {"ray.io/cluster": "demo"}, "ports": [{"port": 8265}]},
            },
            {"kind": "Service", "spec": {"type": "ExternalName", "externalName": "example.com"}},
        ],
        ids=["pod", "internal service", "alias"],
    )
    def test_what_no_rule_has_an_opinion_on_is_not_sent(self, document: Object) -> None:
        made = {
            "apiVersion": "v1",
            "metadata": {"name": "plain", "labels": {"app": "web"}},
            **document,
        }
        assert sent(made) == []

    @pytest.mark.parametrize(
        "words",
        [
            ["ray", "start"],
            ["bash", "-c", "/opt/ray/bin/ray  --logging-level=debug\n start --head"],
            ["sh", "-c", "ray\u00a0start"],
            ["sh", "-c", "\u2026ray start\u2026"],
            ["ray-x", "ray", "--a", "b", "-c", "start;"],
        ],
        ids=repr,
    )
    def test_whatever_is_read_as_ray_start_is_sent(self, words: list[str]) -> None:
        pod = {"spec": {"containers": [{"name": "any", "command": words}]}}
        assert workload.starts_ray(pod)
        assert sent({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, **pod}) == [
            "pods.raywarden.io"
        ]

    @pytest.mark.parametrize(
        "words", [["v2ray", "--startup"], ["bash", "-c", "declare -a array; restart"]], ids=repr
    )
    def test_words_that_only_hold_those_are_not_sent(self, words: list[str]) -> None:
        spec = {"containers": [{"name": "any", "command": words}]}
        assert (
            sent({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec})
            == []
        )

    def test_plain_deployments_are_not_sent(self) -> None:
        template = {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web"}]},
        }
        for api, kind, spec in (
            ("apps/v1", "Deployment", {"template": template}),
            ("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": template}}}),
        ):
            assert (
                sent({"apiVersion": api, "kind": kind, "metadata": {"name": "plain"}, "spec": spec})
                == []
            )

    @pytest.mark.parametrize(
        "base",
        [factory.ray_cluster, factory.head_pod, related_objects.service, related_objects.ingress],
    )
    @pytest.mark.parametrize(
        "change",
        [
            {"/metadata/finalizers": []},
            {"/status": {"phase": "Ready"}},
            {"/metadata/managedFields": [{}]},
        ],
        ids=["finalizers", "status", "managed fields"],
    )
    def test_updates_of_what_nobody_looks_at_are_not_sent(self, base: Any, change: Object) -> None:
        """So that objects can be deleted, and controllers go on, while nobody answers."""
        stored = changed(
            base(), {"/metadata/finalizers": ["foregroundDeletion"], "/spec/type": "NodePort"}
        )
        assert sent(changed(stored, change), stored) == []
        assert sent(
            changed(stored, {"/metadata/labels": {"ray.io/cluster": "demo", "new": "one"}}), stored
        )

    def test_the_status_of_a_pod_is_not_sent(self) -> None:
        stored = factory.head_pod()
        assert (
            sent(changed(stored, {"/status": {"phase": "Running"}}), stored, sub_resource="status")
            == []
        )
        forged = changed(stored, {"/metadata/labels": {"ray.io/cluster": "other"}})
        assert sent(forged, stored, sub_resource="status") == ["pods.raywarden.io"]

    def test_what_networks_note_on_a_pod_is_not_sent(self) -> None:
        """Calico empties its annotation through `status` when a pod ends: that pod would stay, and with it a drain."""
        note, ours = (
            "/metadata/annotations/cni.projectcalico.org~1podIP",
            "/metadata/annotations/raywarden.io~1x",
        )
        stored = changed(factory.head_pod(), {"/metadata/annotations": {"a": "b"}})
        noted = changed(stored, {note: "10.0.0.7/32"})
        assert (
            sent(noted, stored, sub_resource="status")
            == sent(changed(noted, {note: ""}), noted)
            == []
        )
        for told in ({ours: ""}, {"/metadata/annotations/a": "c"}, {"/metadata/annotations": None}):
            assert sent(changed(noted, told), noted, sub_resource="status") == ["pods.raywarden.io"]
        many = {
            "/metadata/annotations": {
                f"cni.projectcalico.org/{number}": "" for number in range(201)
            }
        }
        assert sent(changed(stored, many), changed(stored, many)) == ["pods.raywarden.io"]

    def test_slices_of_controllers_are_not_sent(self) -> None:
        written = related_objects.NEIGHBOURS["endpointslice"]()
        assert (
            sent(written, user="system:serviceaccount:kube-system:endpointslice-controller") == []
        )
        assert sent(written, user="mallory") == ["endpoints.raywarden.io"]

    def test_locks_that_elect_a_leader_are_not_sent(self) -> None:
        """Some controllers still keep them in Endpoints, and end where they cannot renew them."""
        lock = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "provisioner", "annotations": {"a": "b"}},
        }
        assert sent(lock) == []
        assert sent(changed(lock, {"/metadata/annotations/a": "c"}), lock) == []
        led = changed(
            lock, {"/subsets": [{"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 8265}]}]}
        )
        assert sent(led) == sent(led, lock) == ["endpoints.raywarden.io"]

    def test_addresses_and_owners_of_slices_are_not_sent(self) -> None:
        """Others than Kubernetes' own controllers write slices, too, and go on while nobody answers."""
        stored = changed(
            related_objects.endpoint_slice(), {"/metadata/finalizers": ["foregroundDeletion"]}
        )
        scaled = {
            "/endpoints": [{"addresses": ["10.0.0.8"]}],
            "/metadata/finalizers": [],
            "/metadata/annotations": {},
        }
        assert sent(changed(stored, scaled), stored) == []
        for told in (
            {"/ports/0/port": 8265},
            {"/metadata/labels/kubernetes.io~1service-name": "other"},
        ):
            assert sent(changed(stored, told), stored) == ["endpoints.raywarden.io"]

    def test_finalizers_are_not_sent_where_there_is_no_spec(self) -> None:
        """KubeRay's definitions ask for none."""
        stored = {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {"name": "empty", "finalizers": ["a"]},
        }
        assert sent(stored) == ["clusters.raywarden.io"]
        assert sent(changed(stored, {"/metadata/finalizers": []}), stored) == []
        assert sent(changed(stored, {"/spec": {"entrypoint": "x"}}), stored) == [
            "clusters.raywarden.io"
        ]

    def test_namespaces_are_sent_when_a_label_of_ours_changes(self) -> None:
        stored = related_objects.NEIGHBOURS["namespace"]()
        assert sent(changed(stored, {"/metadata/labels/team": "vision"}), stored) == []
        for mode in ("enforce", "warn", "audit"):
            loosened = changed(stored, {f"/metadata/labels/raywarden.io~1{mode}": "privileged"})
            for way in ("", "status", "finalize"):
                assert sent(loosened, stored, sub_resource=way) == ["namespaces.raywarden.io"]


def sent(document: Object, old: Object | None = None, user: str = "", **fields: Any) -> list[str]:
    """The validating webhooks that are called for an object that is created, or updated."""
    operation = "CREATE" if old is None else "UPDATE"
    return registration.called(
        "validate", factory.request(document, operation, old, user, **fields)
    )
