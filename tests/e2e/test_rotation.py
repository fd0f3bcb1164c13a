"""A running cluster survives a rotation of the seed."""

from collections.abc import Callable

from cryptography import x509

from tests.e2e.api import Api
from tests.e2e.kubelet import RunningPod
from tests.e2e.ray_cluster import RayCluster, Watch

Say = Callable[[str], None]


def authorities(pod: RunningPod) -> list[x509.Certificate]:
    """The CAs in the bundle of a pod; the first is the one that signed its certificate."""
    return x509.load_pem_x509_certificates((pod.volume("raywarden-tls") / "ca.crt").read_bytes())


def test_a_cluster_survives_a_rotation_and_accepts_new_pods(
    api: Api, training: RayCluster, say: Say
) -> None:
    before, stays = training.workers[-2:]
    known = authorities(before)
    watch = Watch(training)
    api.rotate()
    training.drive("everything", before.address, stays.address)
    training.lose(before)
    # Before GCS has noticed, it may place an actor on the lost node, and then give the actor up.
    watch.wait_dead(before.address)
    (new,) = training.add_workers(1)
    assert authorities(new)[0] == known[0], (
        "another generation signs than the one that was active when the cluster was created"
    )
    assert len(authorities(new)) == len(known) + 1, "a new pod does not trust the new generation"
    training.drive("everything", stays.address, new.address)
    watch.stop()
    say(
        "the seed was rotated: the cluster kept running, "
        "and a pod that started later joined it and trusts both generations"
    )
