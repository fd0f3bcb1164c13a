"""Ray pods that do not enroll: TLS from the author or from KubeRay, and older objects."""

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.ray.workload import Kind
from tests.support import factory
from tests.support.factory import changed, container, facts
from tests.support.injection import OLD, TLS, after, denials, env, mutated, template_of


class TestOwnCertificate:
    cluster = changed(
        factory.ray_cluster(), {"/metadata/annotations/raywarden.io~1tls-secret": "corporate"}
    )
    allowed = facts(tls_secret_namespaces=("team-*",))

    def test_a_secret_replaces_enrollment(self) -> None:
        template = template_of(after(self.cluster), "worker")
        assert "initContainers" not in template["spec"]
        assert template["spec"]["volumes"] == [
            {"name": "raywarden-tls", "secret": {"secretName": "corporate", "defaultMode": 0o644}}
        ]
        assert template["metadata"]["annotations"] == {"raywarden.io/tls-secret": "corporate"}
        assert denials(after(self.cluster), self.allowed) == []

    def test_it_is_refused_where_the_administrator_does_not_allow_it(self) -> None:
        assert {*denials(after(self.cluster))} == {"no-opt-out"}
        elsewhere = facts(tls_secret_namespaces=("team-b", "b-*"))
        assert {*denials(after(self.cluster), elsewhere)} == {"no-opt-out"}

    def test_a_cluster_that_is_stored_stays_usable(self) -> None:
        """Its pods are not refused, nor updates that change something else."""
        stored = after(self.cluster)
        scaled = changed(stored, {"/spec/workerGroupSpecs/0/replicas": 2})
        assert denials(scaled, facts(OLD, stored)) == []

    def test_its_pods_are_completed_the_same_way(self) -> None:
        pod = changed(
            factory.worker_pod(), {"/metadata/annotations/raywarden.io~1tls-secret": "corporate"}
        )
        names = [container["name"] for container in after(pod)["spec"]["initContainers"]]
        assert names == ["wait-gcs-ready"]
        assert denials(after(pod)) == []

    def test_the_authors_file_can_be_applied_again(self) -> None:
        stored = after(self.cluster)
        assert after(self.cluster, facts(OLD, stored)) == stored
        assert denials(stored, facts(OLD, stored)) == []

    def test_a_new_group_uses_the_same_source_as_the_others(self) -> None:
        enrolled = after(factory.ray_cluster())
        grown = changed(enrolled, {"/metadata/annotations/raywarden.io~1tls-secret": "late"})
        grown["spec"]["workerGroupSpecs"].append(
            {**factory.cluster_spec()["workerGroupSpecs"][0], "groupName": "new"}
        )
        new = after(grown, facts(OLD, enrolled))["spec"]["workerGroupSpecs"][1]["template"]["spec"]
        assert new["initContainers"][0]["name"] == "raywarden-enroll"
        # The same holds if the stored object already has the annotation.
        late = changed(enrolled, {"/metadata/annotations/raywarden.io~1tls-secret": "late"})
        new = after(grown, facts(OLD, late))["spec"]["workerGroupSpecs"][1]["template"]["spec"]
        assert new["initContainers"][0]["name"] == "raywarden-enroll"


class TestUnchanged:
    def test_kuberays_own_mtls(self) -> None:
        cluster = factory.ray_cluster(tlsOptions={"enabled": True})
        assert mutated(cluster).mutations == ("managed-isolation",)
        assert denials(cluster) == []

    def test_pods_of_kuberays_own_mtls(self) -> None:
        pod = changed(factory.head_pod(), {"/metadata/labels/raywarden.io~1tls": None})
        mount = {"name": "ray-tls", "mountPath": "/etc/ray/tls", "readOnly": True}
        variables = [{"name": name, "value": value} for name, value in TLS.items()]
        variables.append({"name": "RAY_AUTH_MODE", "value": "token"})
        for entry in pod["spec"]["containers"]:
            entry |= {"env": variables, "volumeMounts": [mount]}
        pod["spec"] |= {
            "volumes": [{"name": "ray-tls", "secret": {"secretName": "ray-head-secret-demo"}}],
            "initContainers": [container("wait-for-tls-ip-san", volumeMounts=[mount])],
        }
        assert mutated(pod).operations == []
        verdict = validate(
            Kind.of(pod), pod, Policy.parse({"profiles": {"warn": "baseline"}}), facts()
        )
        assert (verdict.denied, verdict.warned) == ((), ())

    def test_tls_set_up_by_hand(self) -> None:
        cluster = factory.with_own_tls(factory.ray_cluster())
        assert mutated(cluster).mutations == ("managed-isolation",)
        assert denials(cluster) == []

    @pytest.mark.parametrize("kind", ["rayjob", "rayservice", "raycronjob"])
    def test_kinds_from_which_kuberay_creates_a_cluster(self, kind: str) -> None:
        assert mutated(factory.MINIMAL[kind]()).operations == []

    def test_a_cluster_that_predates_raywarden(self) -> None:
        old = factory.ray_cluster()
        new = changed(old, {"/spec/workerGroupSpecs/0/replicas": 2})
        assert mutated(new, facts(OLD, old)).operations == []
        assert denials(new, facts(OLD, old)) == []

    def test_a_cluster_that_predates_raywarden_and_claims_the_marker(self) -> None:
        old = factory.ray_cluster()
        new = changed(old, {"/metadata/labels/raywarden.io~1tls": "managed"})
        assert mutated(new, facts(OLD, old)).operations == []
        assert {*denials(new, facts(OLD, old))} == {"tls-on"}

    def test_one_decoy_group_with_tls_by_hand_does_not_count(self) -> None:
        cluster = factory.ray_cluster()
        decoy = factory.with_own_tls(cluster)["spec"]["workerGroupSpecs"][0]
        cluster["spec"]["workerGroupSpecs"].append({**decoy, "groupName": "decoy", "replicas": 0})
        document = after(cluster)
        assert env(template_of(document)["spec"]["containers"][0]).items() >= TLS.items()
        assert {*denials(document)} == {"tls-on"}

    def test_a_pod_on_update(self) -> None:
        assert mutated(factory.head_pod(), facts(OLD, factory.head_pod())).operations == []
