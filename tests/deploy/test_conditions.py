"""Which requests the match conditions of `deploy/base` keep away from RayWarden."""

from typing import Any

import pytest

from policies.ray import membership
from tests.support import factory, registration, related_objects
from tests.support.factory import Object, changed


class TestConditions:
    """Requests that no rule judges are not sent.

    `tests/policies/rules/test_rules.py` and `tests/bypasses` test the opposite with all their
    objects: every request that a rule refuses is sent.
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
    def test_objects_that_no_rule_judges_are_not_sent(self, document: Object) -> None:
        metadata = {"name": "plain", "labels": {"app": "web"}}
        assert sent({"apiVersion": "v1", "metadata": metadata, **document}) == []

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
    def test_every_command_that_is_read_as_ray_start_is_sent(self, words: list[str]) -> None:
        pod = {"spec": {"containers": [{"name": "any", "command": words}]}}
        assert membership.starts_ray(pod)
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, **pod}
        assert sent(document) == ["other-pods.raywarden.io"]

    @pytest.mark.parametrize(
        "words", [["v2ray", "--startup"], ["bash", "-c", "declare -a array; restart"]], ids=repr
    )
    def test_commands_that_contain_ray_start_only_inside_words_are_not_sent(
        self, words: list[str]
    ) -> None:
        spec = {"containers": [{"name": "any", "command": words}]}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": spec}
        assert sent(document) == []

    def test_plain_deployments_are_not_sent(self) -> None:
        template = {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web"}]},
        }
        for api, kind, spec in (
            ("apps/v1", "Deployment", {"template": template}),
            ("batch/v1", "CronJob", {"jobTemplate": {"spec": {"template": template}}}),
        ):
            metadata = {"name": "plain"}
            document = {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
            assert sent(document) == []

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
    def test_updates_of_fields_that_no_rule_reads_are_not_sent(
        self, base: Any, change: Object
    ) -> None:
        """Objects can be deleted, and controllers keep working, while RayWarden is unavailable."""
        stored = changed(
            base(), {"/metadata/finalizers": ["foregroundDeletion"], "/spec/type": "NodePort"}
        )
        assert sent(changed(stored, change), stored) == []
        relabeled = {"/metadata/labels": {"ray.io/cluster": "demo", "new": "one"}}
        assert sent(changed(stored, relabeled), stored)

    def test_the_status_of_a_pod_is_not_sent(self) -> None:
        stored = factory.head_pod()
        running = changed(stored, {"/status": {"phase": "Running"}})
        assert sent(running, stored, sub_resource="status") == []
        forged = changed(stored, {"/metadata/labels": {"ray.io/cluster": "other"}})
        assert sent(forged, stored, sub_resource="status") == ["pod-updates.raywarden.io"]

    def test_annotations_of_network_plugins_on_pods_are_not_sent(self) -> None:
        """Calico clears its annotation through `status` when a pod ends.

        If that needed RayWarden, an outage would block the deletion of pods and so draining a node.
        """
        calico = "/metadata/annotations/cni.projectcalico.org~1podIP"
        raywarden = "/metadata/annotations/raywarden.io~1x"
        stored = changed(factory.head_pod(), {"/metadata/annotations": {"a": "b"}})
        annotated = changed(stored, {calico: "10.0.0.7/32"})
        assert sent(annotated, stored, sub_resource="status") == []
        assert sent(changed(annotated, {calico: ""}), annotated) == []
        for change in (
            {raywarden: ""},
            {"/metadata/annotations/a": "c"},
            {"/metadata/annotations": None},
        ):
            called = sent(changed(annotated, change), annotated, sub_resource="status")
            assert called == ["pod-updates.raywarden.io"]
        # The condition compares at most 200 annotations, because its cost is bounded.
        names = {f"cni.projectcalico.org/{number}": "" for number in range(201)}
        many = changed(stored, {"/metadata/annotations": names})
        assert sent(many, many) == ["pod-updates.raywarden.io"]

    @pytest.mark.parametrize("webhook", ["mutate", "validate"])
    @pytest.mark.parametrize("value", ["demo", "", None], ids=["named", "empty", "none"])
    def test_one_webhook_is_called_for_a_new_ray_pod(self, webhook: str, value: str | None) -> None:
        """No label leads past both webhooks, and none to both."""
        label, opt_in = "/metadata/labels/ray.io~1cluster", "/metadata/labels/raywarden.io~1role"
        document = changed(factory.worker_pod(), {label: value, opt_in: "worker"})
        name = "other-pods.raywarden.io" if value is None else "pods.raywarden.io"
        assert registration.called(webhook, factory.request(document)) == [name]

    @pytest.mark.parametrize("label", ["ray.io/cluster", "pod-template-hash", "anything"])
    def test_a_label_leads_only_past_the_webhook_that_warns(self, label: str) -> None:
        containers = [{"name": "web", "env": [{"name": "RAY_ADDRESS", "value": "ray:10001"}]}]
        metadata = {"name": "web", "labels": {label: "x"}}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        called = sent({**document, "spec": {"containers": containers}})
        expected = {"ray.io/cluster": ["pods.raywarden.io"], "pod-template-hash": []}
        assert called == expected.get(label, ["clients.raywarden.io"])
        containers[0]["command"] = ["ray", "start"]
        assert set(sent({**document, "spec": {"containers": containers}})) & {
            "pods.raywarden.io",
            "other-pods.raywarden.io",
        }

    def test_only_jobs_that_submit_for_a_rayjob_are_sent_to_be_mutated(self) -> None:
        label = "/metadata/labels/ray.io~1originated-from-crd"
        job = related_objects.submitter_job()
        assert registration.called("mutate", factory.request(job)) == ["jobs.raywarden.io"]
        changes: list[Object] = [{"/metadata/labels": None}, {label: None}, {label: "RayService"}]
        for change in changes:
            assert not registration.called("mutate", factory.request(changed(job, change)))
        update = factory.request(job, "UPDATE", job)
        assert not registration.called("mutate", update)

    def test_endpoint_slices_of_controllers_are_not_sent(self) -> None:
        endpoint_slice = related_objects.endpoint_slice()
        controller = "system:serviceaccount:kube-system:endpointslice-controller"
        assert sent(endpoint_slice, user=controller) == []
        assert sent(endpoint_slice, user="mallory") == ["endpoints.raywarden.io"]

    def test_locks_of_leader_elections_are_not_sent(self) -> None:
        """Some controllers still keep their lock in Endpoints and exit if they cannot renew it."""
        lock = {
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {"name": "provisioner", "annotations": {"a": "b"}},
        }
        assert sent(lock) == []
        assert sent(changed(lock, {"/metadata/annotations/a": "c"}), lock) == []
        subset = {"addresses": [{"ip": "10.0.0.7"}], "ports": [{"port": 8265}]}
        with_addresses = changed(lock, {"/subsets": [subset]})
        assert sent(with_addresses) == ["endpoints.raywarden.io"]
        assert sent(with_addresses, lock) == ["endpoints.raywarden.io"]

    def test_addresses_and_owners_of_endpoint_slices_are_not_sent(self) -> None:
        """Controllers outside Kubernetes write EndpointSlices, too.

        They keep working while RayWarden is unavailable.
        """
        stored = changed(
            related_objects.endpoint_slice(), {"/metadata/finalizers": ["foregroundDeletion"]}
        )
        scaled = {
            "/endpoints": [{"addresses": ["10.0.0.8"]}],
            "/metadata/finalizers": [],
            "/metadata/annotations": {},
        }
        assert sent(changed(stored, scaled), stored) == []
        for change in (
            {"/ports/0/port": 8265},
            {"/metadata/labels/kubernetes.io~1service-name": "other"},
        ):
            assert sent(changed(stored, change), stored) == ["endpoints.raywarden.io"]

    def test_finalizers_of_objects_without_a_spec_are_not_sent(self) -> None:
        """KubeRay's CustomResourceDefinitions do not require a spec."""
        stored = {
            "apiVersion": "ray.io/v1",
            "kind": "RayJob",
            "metadata": {"name": "empty", "finalizers": ["a"]},
        }
        assert sent(stored) == ["clusters.raywarden.io"]
        assert sent(changed(stored, {"/metadata/finalizers": []}), stored) == []
        with_spec = changed(stored, {"/spec": {"entrypoint": "x"}})
        assert sent(with_spec, stored) == ["clusters.raywarden.io"]

    def test_namespaces_are_sent_when_a_label_of_raywarden_changes(self) -> None:
        stored = related_objects.namespace()
        assert sent(changed(stored, {"/metadata/labels/team": "vision"}), stored) == []
        for mode in ("enforce", "warn", "audit"):
            loosened = changed(stored, {f"/metadata/labels/raywarden.io~1{mode}": "privileged"})
            for sub_resource in ("", "status", "finalize"):
                called = sent(loosened, stored, sub_resource=sub_resource)
                assert called == ["namespaces.raywarden.io"]


def sent(document: Object, old: Object | None = None, user: str = "", **fields: Any) -> list[str]:
    """The validating webhooks that are called when an object is created, or updated from `old`."""
    operation = "CREATE" if old is None else "UPDATE"
    request = factory.request(document, operation, old, user, **fields)
    return registration.called("validate", request)
