"""RayWarden recognizes its init container after others changed it."""

import pytest

from policies.config import Policy
from policies.evaluate import validate
from policies.ray.workload import Kind
from tests.support import factory
from tests.support.factory import Object, changed, facts
from tests.support.injection import after, denials, mutated

API_TOKEN = {"mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}


class TestChangesByOthers:
    """Admission plugins and other webhooks change every container.

    Harmless changes stay. A change of what the init container does is reverted or denied.
    """

    pod = after(factory.worker_pod())
    first = "/spec/initContainers/0"

    @pytest.mark.parametrize(
        "change",
        [
            {"imagePullPolicy": "Always"},
            {"resources/limits/ephemeral-storage": "1Gi"},
            {"resources/requests/cpu": "100m"},
            {"env/-": {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}},
            {"volumeMounts/-": {"name": "ca-bundle", "mountPath": "/etc/ssl/certs"}},
            {"securityContext/seLinuxOptions": {"level": "s0:c1,c2"}},
            {"env/0/valueFrom/fieldRef": {"fieldPath": "status.podIP"}},
        ],
    )
    def test_a_harmless_change_is_accepted(self, change: Object) -> None:
        pod = changed(self.pod, {f"{self.first}/{place}": value for place, value in change.items()})
        assert mutated(pod).operations == []
        assert denials(pod) == []

    @pytest.mark.parametrize(
        "change",
        [
            {"command": ["sh", "-c", "true"]},
            {"args": ["--key-mode", "0777"]},
            {"image": "registry.elsewhere/raywarden:0.1.0"},
            {"lifecycle": {"postStart": {"exec": {"command": ["sh"]}}}},
            {"restartPolicy": "Always"},
            {"envFrom": [{"configMapRef": {"name": "x"}}]},
            {"env/-": {"name": "PYTHONPATH", "value": "/tmp"}},
            {"env/-": {"name": "RAYWARDEN_SIGNER_URL", "value": "https://elsewhere"}},
            {"env/1/value": "https://elsewhere"},
            {"volumeMounts/-": {"name": "x", "mountPath": "/etc/ray"}},
            {"volumeMounts/-": {"name": "x", "mountPath": "/var/run/secrets/raywarden.io/token"}},
            {"volumeMounts/0/subPath": "x"},
            {"securityContext/runAsNonRoot": False},
            {"securityContext/runAsGroup": 0},
        ],
    )
    def test_any_other_change_is_reverted_or_denied(self, change: Object) -> None:
        pod = changed(self.pod, {f"{self.first}/{place}": value for place, value in change.items()})
        assert denials(pod) == ["tls-on"]
        assert after(pod) == self.pod

    def test_the_denial_of_a_mirrored_image_names_the_setting(self) -> None:
        pod = changed(self.pod, {f"{self.first}/image": "mirror.internal/raywarden:0.1.0"})
        verdict = validate(Kind.of(pod), pod, Policy.parse(None), facts())
        assert "the administrator sets RAYWARDEN_ENROLL_IMAGE" in verdict.denied[0].remediation

    def test_a_pod_stored_by_another_version_is_accepted(self) -> None:
        old = changed(
            self.pod,
            {
                f"{self.first}/image": "elsewhere/raywarden:0.0.1",
                f"{self.first}/env/1/value": "https://x",
            },
        )
        labeled = changed(old, {"/metadata/labels/team": "a"})
        verdict = validate(Kind.of(old), labeled, Policy.parse(None), facts("UPDATE", old))
        assert (verdict.denied, verdict.warned) == ((), ())

    def test_the_init_container_of_a_stored_pod_cannot_be_replaced(self) -> None:
        other = changed(self.pod, {f"{self.first}/image": "elsewhere/raywarden:0.1.0"})
        assert denials(other, facts("UPDATE", self.pod)) == ["tls-on"]

    def test_an_older_container_gets_no_api_token(self) -> None:
        """It mounted nothing in place of the token, so the API server mounted that."""
        mounts = self.pod["spec"]["initContainers"][0]["volumeMounts"]
        assert mounts[2:] == [{**API_TOKEN, "name": "raywarden-token"}]
        for others in ([], [{**API_TOKEN, "name": "kube-api-access-x"}]):
            older = changed(self.pod, {f"{self.first}/volumeMounts": mounts[:2] + others})
            assert denials(older) == []
            assert after(older) == self.pod

    def test_a_stored_cluster_keeps_an_older_container(self) -> None:
        cluster = after(factory.ray_cluster())
        place = "/spec/headGroupSpec/template/spec/initContainers/0/volumeMounts"
        mounts = self.pod["spec"]["initContainers"][0]["volumeMounts"]
        older = changed(cluster, {place: mounts[:2]})
        assert denials(older) == []
        assert after(cluster, facts("UPDATE", older)) == older

    @pytest.mark.parametrize(
        "stored", [{"securityContext": None}, {"env": None}, {"volumeMounts": "none"}, {"args": 5}]
    )
    def test_a_stored_malformed_field_is_kept(self, stored: Object) -> None:
        cluster = after(factory.ray_cluster())
        place = "/spec/headGroupSpec/template/spec/initContainers/0"
        old = changed(cluster, {f"{place}/{field}": value for field, value in stored.items()})
        old["spec"]["headGroupSpec"]["template"]["spec"]["initContainers"][0] |= stored
        assert after(cluster, facts("UPDATE", old)) == old

    @pytest.mark.parametrize("image", ["raywarden:0.2.0", "raywarden:0.2.0-enroll"])
    def test_replicas_of_two_versions_accept_each_others_pods(self, image: str) -> None:
        newer = changed(self.pod, {f"{self.first}/image": image})
        assert denials(newer) == []

    def test_the_first_version_set_no_group(self) -> None:
        older = changed(self.pod, {f"{self.first}/securityContext/runAsGroup": None})
        assert "runAsGroup" not in older["spec"]["initContainers"][0]["securityContext"]
        assert denials(older) == []
        assert after(older) == self.pod
