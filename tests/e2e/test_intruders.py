"""Who is not of a cluster does not get in by TLS; and what would let the same ones in is shown beside it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.apiserver.installation import until
from tests.e2e.forgery import Forger
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.ray_cluster import RayCluster
from tests.e2e.strangers import LOOT, Stranger, head_without_us, tls_variables

Say = Callable[[str], None]
Files = dict[str, bytes]

GCS, CLIENT = 6379, 10001
CALLS = {
    GCS: "/ray.rpc.NodeInfoGcsService/GetClusterId",
    CLIENT: "/ray.rpc.RayletDriver/ClusterInfo",
}
REFUSED = 3


@dataclass(frozen=True)
class Loot:
    """Files in the stranger's hands: by whom they were signed, in a folder for each CA that it trusts."""

    member: Files
    foreign: Files
    forgery: Files
    forger: Forger


@pytest.fixture(scope="module")
def loot(
    open_cluster: RayCluster,
    cluster_of: Callable[..., RayCluster],
    kubelet: Kubelet,
    stranger: Stranger,
) -> Loot:
    """A certificate of the cluster, one of another RayCluster in its namespace, one of a CA with the same names."""
    pod = cluster_of("other").pod("worker")
    enrolled = kubelet.prepare(pod, kubelet.api.place(pod))
    kubelet.run_init_containers(enrolled, only="raywarden-enroll")
    member = files_of(open_cluster.its_head)
    forger = Forger(member)
    found = Loot(member, files_of(enrolled), forger.files(), forger)
    for name, files in (
        ("member", found.member),
        ("foreign", found.foreign),
        ("forgery", found.forgery),
    ):
        stranger.take(name, {**files, "ca.crt": member["ca.crt"]})
        # For the control: there the server is the forger's.
        stranger.take(f"{name}-elsewhere", {**files, "ca.crt": found.forgery["ca.crt"]})
    return found


def files_of(pod: RunningPod) -> Files:
    """What enrollment left in a pod."""
    folder = pod.volume("raywarden-tls")
    return {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}


def knock(stranger: Stranger, head: RunningPod, port: int, *files: str) -> int:
    """A raw call, in plaintext or with these files of the loot; how it ended."""
    said = stranger.run(
        "knock", f"{head.address}:{port}", CALLS[port], *(f"{LOOT}/{file}" for file in files)
    )
    assert said.code in (0, REFUSED), said.text
    return said.code


def answers(stranger: Stranger, head: RunningPod, port: int, files: Sequence[str]) -> None:
    """Wait until it does, who may ask: a head is ready before its client port is open."""
    until(lambda: knock(stranger, head, port, *files) == 0)


def pair(folder: str) -> Sequence[str]:
    """CA, key and certificate of a folder."""
    return [f"{folder}/{name}" for name in ("ca.crt", "tls.key", "tls.crt")]


def connect(stranger: Stranger, head: RunningPod, folder: str = "") -> int:
    """Ray Client, in plaintext or with the files of a folder; how it ended."""
    environment = tls_variables(f"{LOOT}/{folder}") if folder else {}
    said = stranger.run("client", f"{head.address}:{CLIENT}", seconds=90, **environment)
    assert (said.code, "a task ran" in said.text) in ((0, True), (REFUSED, False)), said.text[
        -3000:
    ]
    return said.code


def gets_in(stranger: Stranger, head: RunningPod, folder: str = "") -> None:
    """Wait until it does: on a busy machine Ray Client gives up before its server has started."""
    until(lambda: connect(stranger, head, folder) == 0, 60)


def test_gcs_and_client_port_answer_nobody_but_members(
    open_cluster: RayCluster, stranger: Stranger, loot: Loot, say: Say
) -> None:
    head = open_cluster.its_head
    attempts = {
        "plaintext": (),
        "no certificate": ("member/ca.crt",),
        "a certificate of another RayCluster": pair("foreign"),
        "a self-made CA with the same names": pair("forgery"),
    }
    for port in CALLS:
        # First whoever may: a port that is not open yet refuses everybody.
        answers(stranger, head, port, pair("member"))
        ended = {who: knock(stranger, head, port, *files) for who, files in attempts.items()}
        assert set(ended.values()) == {REFUSED}, ended
        say(f"port {port} refused {', '.join(ended)}; and answered a certificate of the cluster")


def test_ray_client_lets_in_nobody_but_members(
    open_cluster: RayCluster, stranger: Stranger, loot: Loot, say: Say
) -> None:
    with ThreadPoolExecutor(2) as pool:
        whose = ("", "foreign", "forgery", "member")
        ended = list(
            pool.map(lambda folder: connect(stranger, open_cluster.its_head, folder), whose)
        )
    assert ended == [REFUSED, REFUSED, REFUSED, 0]
    say(
        "Ray Client: refused in plaintext, by another RayCluster's and a forged certificate; a member's task ran"
    )


def test_the_same_attempts_succeed_without_us(
    kubelet: Kubelet, stranger: Stranger, loot: Loot, say: Say
) -> None:
    """In plaintext where nobody turned TLS on; by certificate where somebody trusts those CAs."""
    both = loot.forgery["ca.crt"] + loot.foreign["ca.crt"]
    plain = head_without_us(kubelet, "plain")
    careless = head_without_us(
        kubelet, "careless", lambda address: {**loot.forger.files(address), "ca.crt": both}
    )
    for port in CALLS:
        answers(stranger, plain, port, ())
        for who in ("foreign", "forgery"):
            answers(stranger, careless, port, pair(f"{who}-elsewhere"))
        # Ray's TLS is always mutual: only without TLS does one get in without a certificate.
        assert knock(stranger, careless, port, "forgery-elsewhere/ca.crt") == REFUSED
    gets_in(stranger, plain)
    for who in ("foreign", "forgery"):
        gets_in(stranger, careless, f"{who}-elsewhere")
    say(
        "the same attempts get in without us: in plaintext, and by both certificates where their CAs are trusted"
    )
    for head in (plain, careless):
        kubelet.stop(head)
