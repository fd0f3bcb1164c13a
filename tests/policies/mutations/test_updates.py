"""Updates: defaults are sticky in both modes, and TLS cannot be removed."""

import copy

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.ray.workload import Kind
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import OLD, TLS, after, denials, env, mutated, template_of


class TestMarkerMode:
    """`inject.rayCluster: marker`, for GitOps tools that report every added field."""

    marker = facts(rayCluster="marker")

    def test_the_cluster_gets_only_its_markers_and_address(self) -> None:
        result = mutated(factory.ray_cluster(), self.marker)
        assert result.mutations == ("node-ip-address", "managed-isolation", "ray-tls")
        template = template_of(result.document)  # type: ignore[arg-type]  # read-only
        assert template["metadata"]["labels"] == {"raywarden.io/tls": "managed"}
        assert template["spec"] == factory.template("ray-head")["spec"]
        assert denials(dict(result.document), self.marker) == []

    def test_its_pods_get_the_rest(self) -> None:
        assert (
            env(after(factory.worker_pod(), self.marker)["spec"]["containers"][0]).items()
            >= TLS.items()
        )

    def test_the_cluster_stays_as_created_if_the_mode_changes(self) -> None:
        stored = after(factory.ray_cluster(), self.marker)
        assert mutated(stored, facts(OLD, stored)).operations == []
        scaled = changed(stored, {"/spec/workerGroupSpecs/0/replicas": 3})
        verdict = validate(Kind.of(scaled), scaled, Policy.parse(None), facts(OLD, stored))
        assert (verdict.denied, verdict.warned) == ((), ())


class TestUpdates:
    """Neither an upgrade of RayWarden nor the author's file changes what KubeRay hashes."""

    stored = after(factory.ray_cluster(networkPolicy={"mode": "DenyAll"}), facts(auth="token"))
    # As written by an earlier version of RayWarden.
    stored["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"][0]["image"] = (
        "raywarden:0.0.9"
    )

    def test_applying_the_authors_file_again_changes_nothing(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        result = after(author, facts(OLD, self.stored, auth="off", nodeIpAddress="off"))
        assert result == self.stored
        assert denials(result, facts(OLD, self.stored)) == []

    def test_the_groups_may_change_order(self) -> None:
        second = {
            **factory.cluster_spec()["workerGroupSpecs"][0],
            "groupName": "large",
            "replicas": 7,
        }
        two = factory.ray_cluster()
        two["spec"]["workerGroupSpecs"].append(second)
        stored = after(two)
        turned = copy.deepcopy(two)
        turned["spec"]["workerGroupSpecs"].reverse()
        assert (
            after(turned, facts(OLD, stored))["spec"]["workerGroupSpecs"]
            == stored["spec"]["workerGroupSpecs"][::-1]
        )

    def test_an_update_that_keeps_the_injected_parts_is_unchanged(self) -> None:
        scaled = changed(self.stored, {"/spec/workerGroupSpecs/0/replicas": 9})
        assert mutated(scaled, facts(OLD, self.stored)).operations == []

    def test_a_new_group_gets_the_current_contract(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        author["spec"]["workerGroupSpecs"].append(
            {**author["spec"]["workerGroupSpecs"][0], "groupName": "large"}
        )
        result = after(author, facts(OLD, self.stored))
        new = result["spec"]["workerGroupSpecs"][1]
        assert new["template"]["spec"]["initContainers"][0]["image"] == factory.SIGNER.image
        assert new["rayStartParams"]["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
        assert denials(result, facts(OLD, self.stored)) == []

    def test_a_default_that_was_not_stored_is_not_added_later(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": None})
        stored["spec"]["headGroupSpec"]["template"]["spec"].pop("automountServiceAccountToken")
        stored["spec"]["workerGroupSpecs"][0]["rayStartParams"].pop("node-ip-address")
        assert mutated(stored, facts(OLD, stored)).operations == []

    def test_a_value_the_author_removes_is_not_replaced_by_a_default(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": "NodePort"})
        fixed = changed(stored, {"/spec/headGroupSpec/serviceType": None})
        assert "serviceType" not in after(fixed, facts(OLD, stored))["spec"]["headGroupSpec"]

    def test_the_marker_cannot_be_removed(self) -> None:
        unlabeled = changed(self.stored, {"/metadata/labels": None})
        assert after(unlabeled, facts(OLD, self.stored)) == self.stored

    def test_turning_tls_off_is_denied(self) -> None:
        ray = "/spec/headGroupSpec/template/spec/containers/0"
        off = changed(self.stored, {f"{ray}/env/1": {"name": "RAY_USE_TLS", "value": "0"}})
        assert denials(after(off, facts(OLD, self.stored)), facts(OLD, self.stored)) == ["tls-on"]


class TestTlsStays:
    """No update can remove TLS, even if it bypassed the mutation."""

    stored = after(factory.ray_cluster())

    def test_an_update_that_bypassed_the_mutation_is_denied(self) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, self.stored)) == ["no-opt-out", "tls-on"]

    def test_removing_the_marker_is_denied(self) -> None:
        assert denials(
            changed(self.stored, {"/metadata/labels": None}), facts(OLD, self.stored)
        ) == ["tls-on"]

    def test_removing_the_marker_of_a_template_is_denied(self) -> None:
        unlabeled = changed(self.stored, {"/spec/headGroupSpec/template/metadata/labels": None})
        assert denials(unlabeled, facts(OLD, self.stored)) == ["tls-on"]

    def test_replacing_it_with_tls_by_hand_is_denied(self) -> None:
        by_hand = changed(
            factory.with_own_tls(factory.ray_cluster()),
            {
                "/metadata/labels/raywarden.io~1tls": None,
                "/metadata/annotations": self.stored["metadata"]["annotations"],
            },
        )
        assert denials(by_hand, facts(OLD, self.stored)) == ["tls-on"]

    @pytest.mark.parametrize(
        "old",
        [
            factory.with_own_tls(factory.ray_cluster()),
            factory.ray_cluster(tlsOptions={"enabled": True}),
        ],
    )
    def test_removing_tls_by_the_author_or_kuberay_is_denied(self, old: Object) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, old)) == ["tls-on"]

    def test_removing_the_marker_of_a_pod_is_denied(self) -> None:
        pod = after(factory.head_pod())
        unlabeled = changed(pod, {"/metadata/labels/raywarden.io~1tls": None})
        assert {*denials(unlabeled, facts(OLD, pod))} == {"tls-on", "reserved-names"}

    @pytest.mark.parametrize("label", ["ray.io/cluster", "ray.io/node-type", "ray.io/group"])
    @pytest.mark.parametrize("value", ["victim", None])
    def test_changing_the_ray_labels_of_a_pod_is_denied(
        self, label: str, value: str | None
    ) -> None:
        pod = after(factory.worker_pod())
        moved = changed(pod, {f"/metadata/labels/{label.replace('/', '~1')}": value})
        assert denials(moved, facts(OLD, pod)) == ["reserved-names"]

    def test_a_pod_whose_labels_were_removed_is_still_checked(self) -> None:
        pod = after(factory.worker_pod())
        debug: Object = {
            "name": "debug",
            "image": "busybox:1.36",
            "securityContext": {"privileged": True},
        }
        debug["volumeMounts"] = [{"name": "raywarden-tls", "mountPath": "/keys"}]
        unlabeled = changed(pod, {"/metadata/labels": None, "/spec/ephemeralContainers": [debug]})
        assert {*denials(unlabeled, facts(OLD, pod))} == {
            "no-privileged",
            "reserved-names",
            "tls-on",
        }
