"""A pod does not start Ray before the NetworkPolicies of its cluster stand."""

from collections.abc import Callable

import pytest

from policies.ray.pod import ENROLL_CONTAINER
from tests.apiserver.installation import until
from tests.e2e.api import Api
from tests.e2e.kubelet import Kubelet
from tests.e2e.ray_cluster import RayCluster

Say = Callable[[str], None]


def test_pods_wait_until_their_policies_stand(
    api: Api, kubelet: Kubelet, cluster_of: Callable[..., RayCluster], say: Say
) -> None:
    """Until RayWarden may write policies, the init container holds the pod."""
    if not api.port:
        pytest.skip("a double of the API server has no rights to take away")
    with api.no_rights_to_write():
        pod = cluster_of("held").pod("head")
        running = kubelet.prepare(pod, api.place(pod))
        enroll = kubelet.add_container(running, ENROLL_CONTAINER)
        until(lambda: "NetworkPolicy" in enroll.log.read_text(), 30)
        assert not enroll.ended
        waiting = enroll.log.read_text()
    assert enroll.wait(60).code == 0, enroll.log.read_text()
    kubelet.stop(running)
    say(f"without rights to write policies a pod waits; it starts when they stand: {waiting}")
