"""The seed gets another generation while a cluster runs."""

from collections.abc import Callable

from cryptography import x509

from tests.e2e.api import Api
from tests.e2e.kubelet import RunningPod
from tests.e2e.ray_cluster import RayCluster, Watch

Say = Callable[[str], None]


def authorities(pod: RunningPod) -> list[x509.Certificate]:
    """The CAs in a pod's bundle, the one that signed first."""
    return x509.load_pem_x509_certificates((pod.volume("raywarden-tls") / "ca.crt").read_bytes())


def test_a_cluster_outlives_a_rotation_and_takes_pods_in(
    api: Api, training: RayCluster, say: Say
) -> None:
    before, stays = training.workers[-2:]
    known = authorities(before)
    watch = Watch(training)
    api.rotate()
    training.drive("everything", before.address, stays.address)
    training.lose(before)
    # Until GCS has noticed, it may ask the lost node to place an actor, and give the actor up with the node.
    watch.wait_dead(before.address)
    (new,) = training.add_workers(1)
    assert authorities(new)[0] == known[0], (
        "the generation of the time it was created signs for a cluster"
    )
    assert len(authorities(new)) == len(known) + 1, "a pod that starts now trusts the new one, too"
    training.drive("everything", stays.address, new.address)
    watch.stop()
    say(
        "the seed was rotated: the cluster went on, and a pod restarted after it joined, trusting both generations"
    )
