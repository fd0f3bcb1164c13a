"""A whole rotation by `raywarden ca`, under two servers and pods that restart when they are told to."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.apiserver.admin import Admin, activate
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation
from tests.apiserver.pods import Tls, enroll, make_cluster, make_pods, place_of, variable
from tests.apiserver.replica import Replica
from tests.support.factory import Object

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

Pair = tuple[Replica, Replica]


@dataclass
class Pods:
    """Head and worker of one cluster, each enrolled at another replica, and the folder they have their files in."""

    control_plane: ControlPlane
    cluster: Object
    folder: Path
    pods: tuple[Object, ...] = ()
    restarts: int = 0

    @property
    def title(self) -> str:
        return f"{self.cluster['metadata']['namespace']}/{self.cluster['metadata']['name']}"

    def restart(self) -> tuple[Tls, Tls]:
        """As when somebody has deleted them: KubeRay makes new ones."""
        for pod in self.pods:
            self.control_plane.delete(place_of(pod))
        self.pods, self.restarts = make_pods(self.control_plane, self.cluster), self.restarts + 1
        head, worker = (
            enroll(
                self.control_plane,
                pod,
                f"10.1.0.{number}",
                self.folder / f"{self.restarts}-{number}",
            )
            for number, pod in enumerate(self.pods)
        )
        assert head.bundle == worker.bundle
        assert lets_in_both_ways(head, worker)
        return head, worker

    def signer_authorities(self) -> list[int]:
        """How many CAs each pod trusts for its enrollment."""
        return [
            variable(pod, "RAYWARDEN_SIGNER_CA").count("BEGIN CERTIFICATE") for pod in self.pods
        ]


@pytest.fixture
def pods(
    control_plane: ControlPlane, installation: Installation, pair: Pair, tmp_path: Path
) -> Pods:
    return Pods(control_plane, make_cluster(control_plane, installation.team()), tmp_path)


def adopted(pair: Pair, *generations: str) -> None:
    """Wait until both replicas have heard of the seed as it is now."""
    for replica in pair:
        replica.wait_logged("seed adopted", generations=list(generations))


def test_a_generation_is_added_retired_and_forgotten_without_cutting_anybody_off(
    installation: Installation, pair: Pair, pods: Pods
) -> None:
    admin = Admin(installation)
    old, _ = pods.restart()
    first = only_generation(admin, pods, old)
    second = add(admin, pods, first)
    adopted(pair, first, second)
    pods.restart()
    assert pods.signer_authorities() == [1, 1], (
        "all replicas change over at one moment: when it is activated"
    )

    second = activate(installation, second)
    adopted(pair, first, second)
    both, _ = pods.restart()
    assert pods.signer_authorities() == [2, 2]
    assert both.authorities[0] == old.authorities[0] and len(both.authorities) == 2
    assert lets_in_both_ways(old, both)

    retire(admin, pods, first)
    adopted(pair, stored_entry(installation, first), second)
    moved, _ = pods.restart()
    assert moved.authorities == both.authorities[::-1], (
        "the new one signs, the old one is trusted still"
    )
    assert lets_in_both_ways(both, moved)
    assert certificates(admin.does("show", pods.title)) == moved.bundle.decode()

    assert first not in admin.does("revoke", first, "--forget", "--yes")
    adopted(pair, second)
    done, _ = pods.restart()
    assert pods.signer_authorities() == [1, 1]
    assert done.authorities == moved.authorities[:1]
    assert lets_in_both_ways(moved, done)
    assert done.verify(old)[0] != 0, "what the forgotten one has signed is a stranger's"


def only_generation(admin: Admin, pods: Pods, tls: Tls) -> str:
    """The generation there is before anything was rotated."""
    (first,), entry = admin.listed(pods.cluster)
    assert (entry["generation"], entry["pods"], entry["outdated"], entry["unaware"]) == (
        first,
        2,
        0,
        0,
    )
    assert certificates(admin.does("show", pods.title)) == tls.bundle.decode()
    return first


def add(admin: Admin, pods: Pods, first: str) -> str:
    """Rotate; whoever wants to revoke the older one at once is warned. Gives the new generation."""
    assert "added 20" in admin.does("rotate")
    generations, entry = admin.listed(pods.cluster)
    _, second = generations
    assert (generations, entry["unaware"]) == ({first: "signs", second: "signs"}, 2)
    assert f"{pods.title}: 2 of 2 pods do not know {second}: restart before revoking" in admin.does(
        "list"
    )
    code, said = admin.ca("revoke", first)
    assert (
        code == 1
        and f"{pods.title}: 2 of 2 pods will not be able to connect" in said
        and "Aborted" in said
    )
    assert admin.listed(pods.cluster)[0] == generations
    return second


def retire(admin: Admin, pods: Pods, first: str) -> None:
    """Revoke, now that every pod of the cluster knows the other one; other clusters need not be asked."""
    _, entry = admin.listed(pods.cluster)
    assert (entry["generation"], entry["outdated"], entry["unaware"]) == (first, 0, 0)
    assert f"{first}  retired" in admin.does("revoke", first, "--yes")
    generations, entry = admin.listed(pods.cluster)
    assert (generations[first], entry["outdated"], entry["unaware"]) == ("retired", 2, 0)


def lets_in_both_ways(one: Tls, other: Tls) -> bool:
    return (one.verify(other)[0], other.verify(one)[0]) == (0, 0)


def test_the_last_generation_cannot_be_taken_away(
    installation: Installation, pair: Pair, pods: Pods
) -> None:
    admin = Admin(installation)
    stored = installation.control_plane.get(installation.secret)
    name = next(iter(json.loads(admin.does("list", "-o", "json"))["generations"]))["name"]
    for arguments in (("revoke", name, "--yes"), ("revoke", name, "--forget", "--yes")):
        code, said = admin.ca(*arguments)
        assert (code, "no generation is left that signs" in said) == (2, True), said
    code, said = admin.ca("revoke", "20200101T000000Z", "--yes")
    assert (code, f"there is no such generation; there are {name}" in said) == (2, True), said
    assert installation.control_plane.get(installation.secret) == stored


def test_a_cluster_that_does_not_exist_is_said_to(installation: Installation, pair: Pair) -> None:
    assert Admin(installation).ca("show", "nowhere/demo") == (
        2,
        "raywarden: there is no namespace nowhere\n",
    )
    assert Admin(installation).ca("show", "demo") == (2, "raywarden: demo is not NAMESPACE/NAME\n")


def certificates(shown: str) -> str:
    """What `ca show` prints, without what is for people."""
    return "".join(
        line
        for line in shown.splitlines(keepends=True)
        if not line.startswith("#") and line.strip()
    )


def stored_entry(installation: Installation, generation: str) -> str:
    """The name a generation is stored under."""
    data = installation.control_plane.get(installation.secret)["data"]
    (entry,) = [name for name in data if name.startswith(generation)]
    return str(entry)
