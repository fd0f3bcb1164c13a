"""Updates: sticky, in either mode, and TLS stays."""

import copy

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.ray.workload import Kind
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import OLD, TLS, after, denials, env, mutated, template_of


class TestMarkerMode:
    """`inject.rayCluster: marker`, for those whose GitOps tool minds every field."""

    given = facts(rayCluster="marker")

    def test_the_cluster_is_only_marked_and_addressed(self) -> None:
        result = mutated(factory.ray_cluster(), self.given)
        assert result.mutations == ("node-ip-address", "ray-tls")
        template = template_of(result.document)  # type: ignore[arg-type]  # documents are read-only to callers
        assert template["metadata"]["labels"] == {"raywarden.io/tls": "managed"}
        assert template["spec"] == factory.template("ray-head")["spec"]
        assert denials(dict(result.document), self.given) == []

    def test_its_pods_get_the_rest(self) -> None:
        assert (
            env(after(factory.worker_pod(), self.given)["spec"]["containers"][0]).items()
            >= TLS.items()
        )

    def test_later_in_full_mode_it_stays_as_it_was_created(self) -> None:
        stored = after(factory.ray_cluster(), self.given)
        assert mutated(stored, facts(OLD, stored)).operations == []
        scaled = changed(stored, {"/spec/workerGroupSpecs/0/replicas": 3})
        verdict = validate(Kind.of(scaled), scaled, Policy.parse(None), facts(OLD, stored))
        assert (verdict.denied, verdict.warned) == ((), ())


class TestUpdates:
    """Sticky: neither our upgrade nor the author's file ever changes the spec that KubeRay hashes."""

    stored = after(factory.ray_cluster(networkPolicy={"mode": "DenyAll"}), facts(auth="token"))
    # Written by an earlier version of ours, as far as that can differ.
    stored["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"][0]["image"] = (
        "raywarden:0.0.9"
    )

    def test_applying_the_authors_file_again_changes_nothing(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        result = after(author, facts(OLD, self.stored, auth="off", nodeIpAddress="off"))
        assert result == self.stored
        assert denials(result, facts(OLD, self.stored)) == []

    def test_the_groups_may_stand_in_another_order(self) -> None:
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

    def test_an_update_that_keeps_our_parts_is_left_as_it_is(self) -> None:
        scaled = changed(self.stored, {"/spec/workerGroupSpecs/0/replicas": 9})
        assert mutated(scaled, facts(OLD, self.stored)).operations == []

    def test_a_new_group_gets_todays_contract(self) -> None:
        author = factory.ray_cluster(networkPolicy={"mode": "DenyAll"})
        author["spec"]["workerGroupSpecs"].append(
            {**author["spec"]["workerGroupSpecs"][0], "groupName": "large"}
        )
        result = after(author, facts(OLD, self.stored))
        new = result["spec"]["workerGroupSpecs"][1]
        assert new["template"]["spec"]["initContainers"][0]["image"] == factory.SIGNER.image
        assert new["rayStartParams"]["node-ip-address"] == "$(RAYWARDEN_POD_IP)"
        assert denials(result, facts(OLD, self.stored)) == []

    def test_a_default_that_was_not_there_is_not_written_later(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": None})
        stored["spec"]["headGroupSpec"]["template"]["spec"].pop("automountServiceAccountToken")
        stored["spec"]["workerGroupSpecs"][0]["rayStartParams"].pop("node-ip-address")
        assert mutated(stored, facts(OLD, stored)).operations == []

    def test_an_authors_value_that_was_taken_away_stays_away(self) -> None:
        stored = changed(self.stored, {"/spec/headGroupSpec/serviceType": "NodePort"})
        fixed = changed(stored, {"/spec/headGroupSpec/serviceType": None})
        assert "serviceType" not in after(fixed, facts(OLD, stored))["spec"]["headGroupSpec"]

    def test_the_mark_cannot_be_taken_off(self) -> None:
        bare = changed(self.stored, {"/metadata/labels": None})
        assert after(bare, facts(OLD, self.stored)) == self.stored

    def test_turning_tls_off_is_refused(self) -> None:
        ray = "/spec/headGroupSpec/template/spec/containers/0"
        off = changed(self.stored, {f"{ray}/env/1": {"name": "RAY_USE_TLS", "value": "0"}})
        assert denials(after(off, facts(OLD, self.stored)), facts(OLD, self.stored)) == ["tls-on"]


class TestTlsStays:
    """Whatever an update says, and whether or not our mutation saw it, TLS is not taken away."""

    stored = after(factory.ray_cluster())

    def test_an_update_that_went_past_our_mutation(self) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, self.stored)) == ["tls-on"]

    def test_the_mark_alone(self) -> None:
        assert denials(
            changed(self.stored, {"/metadata/labels": None}), facts(OLD, self.stored)
        ) == ["tls-on"]

    def test_the_mark_of_a_template(self) -> None:
        bare = changed(self.stored, {"/spec/headGroupSpec/template/metadata/labels": None})
        assert denials(bare, facts(OLD, self.stored)) == ["tls-on"]

    def test_for_tls_by_hand(self) -> None:
        by_hand = changed(
            factory.by_hand(factory.ray_cluster()), {"/metadata/labels/raywarden.io~1tls": None}
        )
        assert denials(by_hand, facts(OLD, self.stored)) == ["tls-on"]

    @pytest.mark.parametrize(
        "old",
        [factory.by_hand(factory.ray_cluster()), factory.ray_cluster(tlsOptions={"enabled": True})],
    )
    def test_tls_of_others_neither(self, old: Object) -> None:
        assert denials(factory.ray_cluster(), facts(OLD, old)) == ["tls-on"]

    def test_nor_from_a_pod(self) -> None:
        pod = after(factory.head_pod())
        bare = changed(pod, {"/metadata/labels/raywarden.io~1tls": None})
        assert {*denials(bare, facts(OLD, pod))} == {"tls-on", "reserved-names"}

    @pytest.mark.parametrize("label", ["ray.io/cluster", "ray.io/node-type", "ray.io/group"])
    @pytest.mark.parametrize("value", ["victim", None])
    def test_a_pod_keeps_the_labels_it_came_with(self, label: str, value: str | None) -> None:
        pod = after(factory.worker_pod())
        moved = changed(pod, {f"/metadata/labels/{label.replace('/', '~1')}": value})
        assert denials(moved, facts(OLD, pod)) == ["reserved-names"]

    def test_a_pod_without_labels_is_judged_all_the_same(self) -> None:
        pod = after(factory.worker_pod())
        debug: Object = {
            "name": "debug",
            "image": "busybox:1.36",
            "securityContext": {"privileged": True},
        }
        debug["volumeMounts"] = [{"name": "raywarden-tls", "mountPath": "/keys"}]
        bare = changed(pod, {"/metadata/labels": None, "/spec/ephemeralContainers": [debug]})
        assert {*denials(bare, facts(OLD, pod))} == {"no-privileged", "reserved-names", "tls-on"}
