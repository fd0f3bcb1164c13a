"""The init container, known again after others touched it."""

import pytest

from tests import factory
from tests.factory import Object, changed
from tests.injection import after, denials, mutated


class TestOthersOnOurContainer:
    """Admission plugins and other webhooks touch every container; what ours does must not change, nor be undone."""

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
    def test_what_is_harmless_is_left(self, change: Object) -> None:
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
        ],
    )
    def test_what_is_not_is_replaced_or_else_refused(self, change: Object) -> None:
        pod = changed(self.pod, {f"{self.first}/{place}": value for place, value in change.items()})
        assert denials(pod) == ["tls-on"]
        assert after(pod) == self.pod

    def test_replicas_of_two_versions_agree(self) -> None:
        newer = changed(self.pod, {f"{self.first}/image": "raywarden:0.2.0"})
        assert denials(newer) == []
