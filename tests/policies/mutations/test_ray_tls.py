"""The injection contract of TLS: what RayWarden adds to a Ray pod, and what it leaves unchanged."""

from typing import Any

import kubernetes_validate
import pytest

from tests.support import factory
from tests.support.factory import IMAGE, Object, changed, container, facts
from tests.support.injection import TLS, after, denials, env, mutated, only, template_of


class TestRayTls:
    @pytest.mark.parametrize("group", ["head", "worker"])
    def test_a_cluster_gets_the_whole_contract_in_every_group(self, group: str) -> None:
        template = template_of(after(factory.ray_cluster()), group)
        ray = template["spec"]["containers"][0]
        assert env(ray) == {
            "RAYWARDEN_POD_IP": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
            **TLS,
        }
        assert next(iter(env(ray))) == "RAYWARDEN_POD_IP"
        assert ray["volumeMounts"] == [
            {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True}
        ]
        assert template["metadata"]["labels"] == {"raywarden.io/tls": "managed"}
        assert template["spec"]["volumes"] == [
            {"name": "raywarden-tls", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {
                "name": "raywarden-token",
                "projected": {
                    "sources": [
                        {
                            "serviceAccountToken": {
                                "path": "token",
                                "audience": "raywarden.io",
                                "expirationSeconds": 600,
                            }
                        }
                    ],
                    "defaultMode": 0o644,
                },
            },
        ]

    def test_the_init_container_matches_the_contract(self) -> None:
        enroll = template_of(after(factory.ray_cluster()))["spec"]["initContainers"][0]
        assert (enroll["name"], enroll["image"]) == ("raywarden-enroll", factory.SIGNER.image)
        assert enroll["command"] == ["raywarden", "enroll"]
        assert env(enroll) == {
            "RAYWARDEN_POD_IP": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
            "RAYWARDEN_SIGNER_URL": factory.SIGNER.url,
            "RAYWARDEN_SIGNER_CA": factory.SIGNER.ca,
        }
        assert enroll["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsGroup": 65532,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert enroll["volumeMounts"] == [
            {"name": "raywarden-tls", "mountPath": "/etc/ray/tls"},
            {
                "name": "raywarden-token",
                "mountPath": "/var/run/secrets/raywarden.io",
                "readOnly": True,
            },
            {
                "name": "raywarden-token",
                "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
                "readOnly": True,
            },
        ]
        assert (
            {*enroll["resources"]["requests"]}
            == {*enroll["resources"]["limits"]}
            == {"cpu", "memory"}
        )

    def test_the_init_container_comes_first(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/initContainers/-": container("fetch-model")})
        names = [container["name"] for container in after(pod)["spec"]["initContainers"]]
        assert names == ["raywarden-enroll", "wait-gcs-ready", "fetch-model"]

    def test_kuberays_own_containers_use_tls_too(self) -> None:
        head, worker = after(factory.head_pod()), after(factory.worker_pod())
        autoscaler = only(head, "autoscaler")
        for kuberays in (autoscaler, only(worker, "wait-gcs-ready", "initContainers")):
            assert env(kuberays).items() >= TLS.items()
            assert kuberays["volumeMounts"] == [
                {"name": "raywarden-tls", "mountPath": "/etc/ray/tls", "readOnly": True}
            ]

    def test_a_sidecar_that_kept_the_old_ray_image_keeps_tls(self) -> None:
        pod = changed(factory.head_pod(), {"/spec/containers/-": container("side")})
        stored = after(pod)
        raised = changed(stored, {"/spec/containers/0/image": "rayproject/ray:2.56.0"})
        assert denials(after(raised)) == []

    def test_a_sidecar_with_another_image_is_unchanged(self) -> None:
        pod = changed(
            factory.head_pod(), {"/spec/containers/-": container("logs", image="fluent-bit:3")}
        )
        assert not {"env", "volumeMounts"} & only(after(pod), "logs").keys()

    def test_the_authors_entries_keep_their_places(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["containers"][0] |= {
            "env": [{"name": "OWN", "value": "1"}],
            "envFrom": [{"configMapRef": {"name": "settings"}}],
            "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "unheardOf": {"kept": True},
        }
        pod["spec"]["volumes"] = [{"name": "data", "emptyDir": {}}]
        ray = after(pod)["spec"]["containers"][0]
        assert list(env(ray)) == ["RAYWARDEN_POD_IP", *TLS, "OWN"]
        assert ray["volumeMounts"][0] == {"name": "data", "mountPath": "/data"}
        assert ray["envFrom"] == [{"configMapRef": {"name": "settings"}}]
        assert ray["unheardOf"] == {"kept": True}

    def test_a_variable_the_author_set_stays_and_is_denied(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["containers"][0]["env"] = [{"name": "RAY_USE_TLS", "value": "yes"}]
        result = after(pod)
        variables = result["spec"]["containers"][0]["env"]
        use_tls = [variable for variable in variables if variable["name"] == "RAY_USE_TLS"]
        assert use_tls == [{"name": "RAY_USE_TLS", "value": "yes"}]
        assert denials(result) == ["tls-on"]

    def test_an_init_container_of_the_same_name_is_replaced(self) -> None:
        pod = factory.worker_pod()
        pod["spec"]["initContainers"] += [container("raywarden-enroll", command=["sh"])] * 2
        result = after(pod)
        names = [container["name"] for container in result["spec"]["initContainers"]]
        assert names == ["raywarden-enroll", "wait-gcs-ready"]
        assert result["spec"]["initContainers"][0]["command"] == ["raywarden", "enroll"]
        assert denials(result) == []

    def test_a_new_pod_with_an_older_init_container_gets_the_current_one(self) -> None:
        pod = after(factory.worker_pod())
        pod["spec"]["initContainers"][0] |= {"image": "raywarden:0.0.9"}
        assert after(pod)["spec"]["initContainers"][0]["image"] == factory.SIGNER.image

    def test_additions_by_kuberay_and_the_api_server_stay(self) -> None:
        pod = after(factory.worker_pod())
        enroll = pod["spec"]["initContainers"][0]
        enroll["env"] += [{"name": "FQ_RAY_IP", "value": "demo-head-svc.team-a.svc.cluster.local"}]
        enroll["env"] += [{"name": "RAY_IP", "value": "demo-head-svc"}]
        enroll |= {
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        }
        enroll["volumeMounts"].append({"name": "ca-bundle", "mountPath": "/etc/ssl/certs"})
        assert mutated(pod).operations == []
        assert denials(pod) == []

    def test_another_mount_at_the_path_is_denied_not_duplicated(self) -> None:
        pod = factory.head_pod()
        pod["spec"]["volumes"] = [{"name": "mine", "emptyDir": {}}]
        pod["spec"]["containers"][0]["volumeMounts"] = [
            {"name": "mine", "mountPath": "/etc/ray/./tls/"}
        ]
        result = after(pod)
        assert len(result["spec"]["containers"][0]["volumeMounts"]) == 1
        assert {*denials(result)} == {"tls-on", "reserved-names"}

    def test_an_update_does_not_add_tls_to_a_container_that_was_stored_without(self) -> None:
        """Another version of RayWarden did not recognize it; a new spec would restart Ray."""
        sidecars = "/spec/headGroupSpec/template/spec/containers/-"
        side = container("side", image="rayproject/ray:2.56.0")
        cluster = after(changed(factory.ray_cluster(), {sidecars: side}))
        assert env(template_of(cluster)["spec"]["containers"][1]).items() >= TLS.items()
        template_of(cluster)["spec"]["containers"][1] = side
        scaled = changed(cluster, {"/spec/workerGroupSpecs/0/replicas": 2})
        assert after(scaled, facts("UPDATE", cluster)) == scaled
        extended = changed(scaled, {sidecars: {**side, "name": "new"}})
        updated = after(extended, facts("UPDATE", cluster))
        _, stored, new = template_of(updated)["spec"]["containers"]
        assert stored == side and env(new).items() >= TLS.items()

    def test_submitters_and_unmarked_pods_get_no_tls(self) -> None:
        assert "initContainers" not in after(factory.submitter_pod())["spec"]
        assert mutated(factory.head_pod(**{"raywarden.io/tls": "other"})).operations == []

    @pytest.mark.parametrize("role", ["head", "worker", "client"])
    def test_pods_without_kuberay_opt_in_by_label(self, role: str) -> None:
        pod = after(factory.opted_in_pod(role))
        assert env(pod["spec"]["containers"][0]).items() >= TLS.items()
        assert denials(pod) == []

    def test_the_opt_in_label_does_not_change_the_role_of_a_kuberay_pod(self) -> None:
        pod = factory.worker_pod(
            **{"raywarden.io/cluster": "x", "raywarden.io/role": "redis-cleanup"}
        )
        assert after(pod)["spec"]["initContainers"][0]["name"] == "raywarden-enroll"

    def test_the_redis_cleanup_pod_does_not_wait_for_a_certificate(self) -> None:
        pod = after(factory.head_pod())
        pod["metadata"]["labels"]["ray.io/node-type"] = "redis-cleanup"
        assert after(pod)["spec"]["initContainers"], "the label alone proves nothing"
        pod["metadata"]["ownerReferences"][0] |= {"apiVersion": "batch/v1", "kind": "Job"}
        assert after(pod)["spec"]["initContainers"] == []
        for controller in (
            "system:serviceaccount:kube-system:job-controller",
            "system:kube-controller-manager",
        ):
            assert denials(after(pod), facts(user=controller)) == []
        assert "tls-on" in denials(after(pod)), "any tenant can write the label"


class TestKeyMode:
    def mode(self, document: Object, **inject: Any) -> tuple[Any, list[str]]:
        enroll = after(document, facts(**inject))["spec"]["initContainers"][0]
        return enroll["securityContext"].get("runAsUser"), enroll["args"]

    def test_owner_only_if_the_user_of_the_image_is_known(self) -> None:
        assert self.mode(factory.worker_pod()) == (1000, ["--key-mode", "0400"])

    def test_the_full_name_of_docker_hub_is_the_same_image(self) -> None:
        pod = factory.worker_pod()
        for entry in (*pod["spec"]["containers"], *pod["spec"]["initContainers"]):
            entry["image"] = f"docker.io/{IMAGE}"
        assert self.mode(pod) == (1000, ["--key-mode", "0400"])

    def test_owner_only_if_the_spec_sets_the_user(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/runAsUser": 4711})
        assert self.mode(pod, nonRootImages=[]) == (4711, ["--key-mode", "0400"])

    def test_group_if_only_the_group_is_known(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/fsGroup": 100})
        assert self.mode(pod, nonRootImages=[]) == (None, ["--key-mode", "0440"])

    def test_everyone_if_the_user_is_unknown_or_users_differ(self) -> None:
        assert self.mode(factory.worker_pod(), nonRootImages=[]) == (None, ["--key-mode", "0444"])
        mixed = changed(factory.head_pod(), {"/spec/containers/1/securityContext/runAsUser": 4711})
        assert self.mode(mixed) == (None, ["--key-mode", "0444"])

    def test_root_does_not_own_the_key(self) -> None:
        pod = changed(factory.worker_pod(), {"/spec/securityContext/runAsUser": 0})
        assert self.mode(pod) == (None, ["--key-mode", "0444"])


@pytest.mark.parametrize("kind", ["head-pod", "worker-pod", "submitter-pod", "opted-in-pod"])
def test_mutated_pods_are_valid_in_kubernetes(kind: str) -> None:
    kubernetes_validate.validate(after(factory.MINIMAL[kind]()), "1.37", strict=True)


@pytest.mark.parametrize("group", ["head", "worker"])
def test_mutated_templates_are_valid_in_kubernetes(group: str) -> None:
    template = template_of(after(factory.ray_cluster()), group)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": template["metadata"],
        "spec": template["spec"],
    }
    kubernetes_validate.validate(pod, "1.37", strict=True)
