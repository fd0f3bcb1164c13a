"""A complete rotation with `raywarden ca`, with two servers and pods that restart as instructed."""

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
    """The head and the worker of a cluster, each enrolled at another replica.

    `folder` holds the files of each of their restarts.
    """

    control_plane: ControlPlane
    cluster: Object
    folder: Path
    pods: tuple[Object, ...] = ()
    restarts: int = 0

    @property
    def title(self) -> str:
        return f"{self.cluster['metadata']['namespace']}/{self.cluster['metadata']['name']}"

    def restart(self) -> tuple[Tls, Tls]:
        """Delete the pods and create new ones as KubeRay does; returns their files."""
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
        assert accept_each_other(head, worker)
        return head, worker

    def signer_authorities(self) -> list[int]:
        """The number of CAs that each pod trusts for its enrollment."""
        return [
            variable(pod, "RAYWARDEN_SIGNER_CA").count("BEGIN CERTIFICATE") for pod in self.pods
        ]


@pytest.fixture
def pods(
    control_plane: ControlPlane, installation: Installation, pair: Pair, tmp_path: Path
) -> Pods:
    return Pods(control_plane, make_cluster(control_plane, installation.team()), tmp_path)


def adopted(pair: Pair, *generations: str) -> None:
    """Wait until both replicas have adopted a seed with these generations."""
    for replica in pair:
        replica.wait_logged("seed adopted", generations=list(generations))


def test_a_rotation_cuts_off_no_pod(installation: Installation, pair: Pair, pods: Pods) -> None:
    admin = Admin(installation)
    old, _ = pods.restart()
    first = only_generation(admin, pods, old)
    second = add(admin, pods, first)
    adopted(pair, first, second)
    pods.restart()
    assert pods.signer_authorities() == [1, 1], (
        "the new CA was published before its activation time"
    )

    second = activate(installation, second)
    adopted(pair, first, second)
    with_both, _ = pods.restart()
    assert pods.signer_authorities() == [2, 2]
    assert with_both.authorities[0] == old.authorities[0] and len(with_both.authorities) == 2
    assert accept_each_other(old, with_both)

    retire(admin, pods, first)
    adopted(pair, stored_entry(installation, first), second)
    switched, _ = pods.restart()
    assert switched.authorities == with_both.authorities[::-1], (
        "the new CA must sign, and the old one must still be trusted"
    )
    assert accept_each_other(with_both, switched)
    assert certificates(admin.run("show", pods.title)) == switched.bundle.decode()

    assert first not in admin.run("revoke", first, "--forget", "--yes")
    adopted(pair, second)
    final, _ = pods.restart()
    assert pods.signer_authorities() == [1, 1]
    assert final.authorities == switched.authorities[:1]
    assert accept_each_other(switched, final)
    assert final.verify(old)[0] != 0, "certificates of the removed generation are still accepted"


def only_generation(admin: Admin, pods: Pods, tls: Tls) -> str:
    """The name of the only generation before the rotation."""
    (first,), entry = admin.generations(pods.cluster)
    counts = (entry["pods"], entry["outdated"], entry["missingNewCa"])
    assert (entry["generation"], counts) == (first, (2, 0, 0))
    assert certificates(admin.run("show", pods.title)) == tls.bundle.decode()
    return first


def add(admin: Admin, pods: Pods, first: str) -> str:
    """Add a generation; returns its name. Revoking the older one at once needs a confirmation."""
    assert "added 20" in admin.run("rotate")
    generations, entry = admin.generations(pods.cluster)
    _, second = generations
    assert (generations, entry["missingNewCa"]) == ({first: "signs", second: "signs"}, 2)
    assert (
        f"{pods.title}: 2 of 2 pods do not trust {second}; restart them before `revoke`"
        in admin.run("list")
    )
    code, output = admin.ca("revoke", first)
    assert code == 1 and "Aborted" in output
    assert f"{pods.title}: 2 of 2 pods will not be able to connect" in output
    assert admin.generations(pods.cluster)[0] == generations
    return second


def retire(admin: Admin, pods: Pods, first: str) -> None:
    """Revoke the older generation, after every pod of the cluster has learned of the newer one.

    Other test modules may have left clusters behind, so `--yes` skips the confirmation.
    """
    _, entry = admin.generations(pods.cluster)
    assert (entry["generation"], entry["outdated"], entry["missingNewCa"]) == (first, 0, 0)
    assert f"{first}  retired" in admin.run("revoke", first, "--yes")
    generations, entry = admin.generations(pods.cluster)
    assert (generations[first], entry["outdated"], entry["missingNewCa"]) == ("retired", 2, 0)


def accept_each_other(first: Tls, second: Tls) -> bool:
    return (first.verify(second)[0], second.verify(first)[0]) == (0, 0)


def test_the_last_generation_cannot_be_revoked(
    installation: Installation, pair: Pair, pods: Pods
) -> None:
    admin = Admin(installation)
    stored = installation.control_plane.get(installation.secret)
    name = next(iter(json.loads(admin.run("list", "-o", "json"))["generations"]))["name"]
    for arguments in (("revoke", name, "--yes"), ("revoke", name, "--forget", "--yes")):
        code, output = admin.ca(*arguments)
        assert (code, "no signing generation would be left" in output) == (2, True), output
    code, output = admin.ca("revoke", "20200101T000000Z", "--yes")
    assert (code, f"there is no such generation; the seed has {name}" in output) == (2, True), (
        output
    )
    assert installation.control_plane.get(installation.secret) == stored


def test_show_names_a_namespace_that_does_not_exist(installation: Installation, pair: Pair) -> None:
    assert Admin(installation).ca("show", "nowhere/demo") == (
        2,
        "raywarden: there is no namespace nowhere\n",
    )
    assert Admin(installation).ca("show", "demo") == (2, "raywarden: demo is not NAMESPACE/NAME\n")


def certificates(shown: str) -> str:
    """The certificates in the output of `ca show`, without comments and empty lines."""
    lines = shown.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("#") and line.strip())


def stored_entry(installation: Installation, generation: str) -> str:
    """The name of the entry of a generation in the Secret."""
    data = installation.control_plane.get(installation.secret)["data"]
    (entry,) = [name for name in data if name.startswith(generation)]
    return str(entry)
