"""The NetworkPolicies of a guide keep Ray from starting, as RayWarden says of them."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import yaml

from policies.ray.pod import ENROLL_CONTAINER
from tests.e2e.api import Api
from tests.e2e.captured import NAMESPACE, pod_of
from tests.e2e.firewall import NO_NFT, firewall_of, has_nft
from tests.e2e.kubelet import Kubelet
from tests.e2e.ray_cluster import RayCluster
from tests.policies.network.test_needs import GUIDE
from tests.support.factory import Object

pytestmark = pytest.mark.skipif(not has_nft(), reason=NO_NFT)

Say = Callable[[str], None]

# What RayWarden finds missing first: the name of the head and of the signer, and the certificate.
DNS = """
podSelector: {}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {}}], ports: [{port: 53, protocol: UDP}]}]
"""
ENROLLMENT = """
podSelector: {}
policyTypes: [Egress]
egress: [{to: [{namespaceSelector: {}}], ports: [{port: 8444}]}]
"""
# A hundred times as long as enrollment takes.
_WAITING_SECONDS = 5


def test_a_pod_under_the_policies_of_a_guide_gets_no_certificate(
    api: Api, kubelet: Kubelet, cluster_of: Callable[..., RayCluster], say: Say
) -> None:
    pod = pod_of(cluster_of("guide").stored, "head")
    pod["metadata"]["labels"]["app"] = "ray-cluster-head"
    stored = api.make_pod(pod)
    guide = [document["spec"] for document in yaml.safe_load_all(GUIDE)]
    with firewall_of(api, kubelet), written(api, "guide", guide):
        running = kubelet.prepare(stored, api.place(stored))
        enroll = kubelet.add_container(running, ENROLL_CONTAINER)
        time.sleep(_WAITING_SECONDS)
        assert not enroll.ended
        with written(api, "dns", [yaml.safe_load(DNS)]):
            time.sleep(_WAITING_SECONDS)
            assert not enroll.ended
            with written(api, "enrollment", [yaml.safe_load(ENROLLMENT)]):
                assert enroll.wait(60).code == 0, enroll.log.read_text()
    kubelet.stop(running)
    say(
        "under the four policies of a guide a pod waits for its certificate; it gets it "
        "when DNS and enrollment are allowed, and not when DNS alone is"
    )


@contextmanager
def written(api: Api, name: str, specs: Sequence[Object]) -> Iterator[None]:
    """Store NetworkPolicies within the block."""
    policies = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": f"{name}-{number}", "namespace": NAMESPACE},
            "spec": spec,
        }
        for number, spec in enumerate(specs)
    ]
    api.write_policies(policies)
    try:
        yield
    finally:
        api.delete_policies(policies)
