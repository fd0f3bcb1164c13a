"""TLS rejects every client outside a cluster; the same clients succeed without RayWarden."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.apiserver.installation import until
from tests.e2e.forgery import Forger
from tests.e2e.intruder import LOOT, Intruder, head_without_raywarden, tls_variables
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import RayCluster

Say = Callable[[str], None]
Files = dict[str, bytes]

GCS, CLIENT = 6379, 10001
CALLS = {
    GCS: "/ray.rpc.NodeInfoGcsService/GetClusterId",
    CLIENT: "/ray.rpc.RayletDriver/ClusterInfo",
}
REFUSED = 3
# A failed attempt takes up to 30 s; on a machine at half its speed two of them are not enough.
_CONNECTED_SECONDS = 180


@dataclass(frozen=True)
class Loot:
    """The files that the intruder has: certificates of a member, of another cluster, and forged."""

    member: Files
    foreign: Files
    forgery: Files
    forger: Forger


@pytest.fixture(scope="module")
def loot(
    open_cluster: RayCluster,
    cluster_of: Callable[..., RayCluster],
    kubelet: Kubelet,
    intruder: Intruder,
) -> Loot:
    """Certificates of the cluster, of another RayCluster in its namespace, and of a forged CA.

    Each is in a folder with the CA of the cluster, and in another with the forged CA.
    """
    pod = cluster_of("other").pod("worker")
    enrolled = kubelet.prepare(pod, kubelet.api.place(pod))
    kubelet.run_init_containers(enrolled, only="raywarden-enroll")
    member = files_of(open_cluster.its_head)
    forger = Forger(member)
    loot = Loot(member, files_of(enrolled), forger.files(), forger)
    for name, files in (
        ("member", loot.member),
        ("foreign", loot.foreign),
        ("forgery", loot.forgery),
    ):
        intruder.take(name, {**files, "ca.crt": member["ca.crt"]})
        # For the server without RayWarden, whose certificate the forger has issued.
        intruder.take(f"{name}-elsewhere", {**files, "ca.crt": loot.forgery["ca.crt"]})
    return loot


def files_of(pod: RunningPod) -> Files:
    """The files that enrollment has written in a pod."""
    folder = pod.volume("raywarden-tls")
    return {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}


def knock(intruder: Intruder, head: RunningPod, port: int, *files: str) -> int:
    """Send a raw call, in plaintext or with these files of the loot; returns the exit code."""
    paths = [f"{LOOT}/{file}" for file in files]
    result = intruder.run("knock", f"{head.address}:{port}", CALLS[port], *paths)
    assert result.code in (0, REFUSED), result.text
    return result.code


def wait_until_answered(
    intruder: Intruder, head: RunningPod, port: int, files: Sequence[str]
) -> None:
    """Wait until the port answers an allowed client: a head is ready before this port is open."""
    until(lambda: knock(intruder, head, port, *files) == 0)


def pair(folder: str) -> Sequence[str]:
    """The CA, the key and the certificate in a folder."""
    return [f"{folder}/{name}" for name in ("ca.crt", "tls.key", "tls.crt")]


def connect(intruder: Intruder, head: RunningPod, folder: str = "") -> int:
    """Run Ray Client, in plaintext or with the files of a folder; returns the exit code."""
    environment = tls_variables(f"{LOOT}/{folder}") if folder else {}
    result = intruder.run("client", f"{head.address}:{CLIENT}", seconds=90, **environment)
    outcome = (result.code, "a task ran" in result.text)
    assert outcome in ((0, True), (REFUSED, False)), result.text[-3000:]
    return result.code


def wait_until_connected(intruder: Intruder, head: RunningPod, folder: str = "") -> None:
    """Wait until Ray Client can connect: on a busy machine it gives up before its server runs."""
    until(lambda: connect(intruder, head, folder) == 0, _CONNECTED_SECONDS)


def test_gcs_and_the_client_port_answer_only_members(
    open_cluster: RayCluster, intruder: Intruder, loot: Loot, say: Say
) -> None:
    head = open_cluster.its_head
    attempts = {
        "plaintext": (),
        "no certificate": ("member/ca.crt",),
        "a certificate of another RayCluster": pair("foreign"),
        "a self-made CA with the same names": pair("forgery"),
    }
    for port in CALLS:
        # An allowed client first: a port that is not open yet would refuse every client.
        wait_until_answered(intruder, head, port, pair("member"))
        codes = {name: knock(intruder, head, port, *files) for name, files in attempts.items()}
        assert set(codes.values()) == {REFUSED}, codes
        say(f"port {port} refused {', '.join(codes)}; it answered a certificate of the cluster")


def test_ray_client_accepts_only_members(
    open_cluster: RayCluster, intruder: Intruder, loot: Loot, say: Say
) -> None:
    # A member first: a client server that is still starting would refuse every client.
    wait_until_connected(intruder, open_cluster.its_head, "member")
    with ThreadPoolExecutor(2) as pool:
        folders = ("", "foreign", "forgery")
        codes = list(
            pool.map(lambda folder: connect(intruder, open_cluster.its_head, folder), folders)
        )
    assert codes == [REFUSED, REFUSED, REFUSED]
    say(
        "Ray Client: refused in plaintext, with a certificate of another RayCluster "
        "and with a forged one; a task of a member ran"
    )


def test_the_same_attempts_succeed_without_raywarden(
    kubelet: Kubelet, intruder: Intruder, loot: Loot, say: Say
) -> None:
    """In plaintext if TLS is off; with a certificate if the author trusts those CAs."""
    trusted_cas = loot.forgery["ca.crt"] + loot.foreign["ca.crt"]
    plain = head_without_raywarden(kubelet, "plain")
    careless = head_without_raywarden(
        kubelet, "careless", lambda address: {**loot.forger.files(address), "ca.crt": trusted_cas}
    )
    for port in CALLS:
        wait_until_answered(intruder, plain, port, ())
        for name in ("foreign", "forgery"):
            wait_until_answered(intruder, careless, port, pair(f"{name}-elsewhere"))
        # Ray's TLS is always mutual, so a client without a certificate is refused even here.
        assert knock(intruder, careless, port, "forgery-elsewhere/ca.crt") == REFUSED
    wait_until_connected(intruder, plain)
    for name in ("foreign", "forgery"):
        wait_until_connected(intruder, careless, f"{name}-elsewhere")
    say(
        "the same attempts succeed without RayWarden: in plaintext, "
        "and with both certificates if their CAs are trusted"
    )
    for head in (plain, careless):
        kubelet.stop(head)
