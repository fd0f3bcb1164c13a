"""The reconciler repairs the seed and the caBundle after others have changed them."""

import base64
import os
import time

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.replica import RESYNC_SECONDS, Replica

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

Pair = tuple[Replica, Replica]
# The interval of the reconciler, and time for a reconciliation on a busy machine.
_SOON = RESYNC_SECONDS + 5


def test_a_changed_ca_bundle_is_overwritten(installation: Installation, pair: Pair) -> None:
    good = installation.bundles()
    installation.spoil()
    until(lambda: installation.bundles() == good, _SOON)


def test_a_deleted_seed_is_restored(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    stored, bundles = control_plane.get(installation.secret), installation.bundles()
    adopted = [replica.log("seed adopted") for replica in pair]
    control_plane.delete(installation.secret)
    again = until(lambda: control_plane.get(installation.secret), _SOON)
    assert again["data"] == stored["data"]
    assert again["metadata"]["uid"] != stored["metadata"]["uid"]
    time.sleep(2 * RESYNC_SECONDS)
    assert [replica.log("seed adopted") for replica in pair] == adopted, (
        "the seed was adopted again"
    )
    assert installation.bundles() == bundles


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({"20261120T080000Z": "c2hvcnQ="}, "entry '20261120T080000Z' holds 5 bytes, not 32"),
        (
            {"latest": "c2hvcnQ="},
            "the name of entry 'latest' is not an activation time such as 20261120T080000Z",
        ),
        ({}, "the seed has no generations"),
    ],
    ids=["short", "unnamed", "empty"],
)
def test_an_unusable_seed_is_logged_once_and_the_last_good_one_stays_in_use(
    control_plane: ControlPlane,
    installation: Installation,
    pair: Pair,
    entries: dict[str, str],
    problem: str,
) -> None:
    good = control_plane.get(installation.secret)["data"]
    before = [replica.log("reconcile failed") for replica in pair]
    control_plane.patch(installation.secret, {"data": {**dict.fromkeys(good), **entries}})
    for replica in pair:
        replica.wait_logged("reconcile failed", _SOON, reason=problem)
    time.sleep(3 * RESYNC_SECONDS)
    installation.wait_effective()
    control_plane.patch(installation.secret, {"data": {**dict.fromkeys(entries), **good}})
    time.sleep(2 * RESYNC_SECONDS)
    for replica, earlier in zip(pair, before, strict=True):
        failures = replica.log("reconcile failed")[len(earlier) :]
        assert [failure["reason"] for failure in failures] == [problem]
        assert not replica.missing


def test_a_seed_of_another_installation_is_merged(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    own = control_plane.get(installation.secret)["data"]
    other = {"20261101T000000Z": base64.b64encode(os.urandom(32)).decode()}
    control_plane.patch(installation.secret, {"data": {**dict.fromkeys(own), **other}})
    until(lambda: control_plane.get(installation.secret)["data"] == {**own, **other}, _SOON)
    for replica in pair:
        replica.wait_logged("seed adopted", generations=[*other, *own])
        assert not replica.missing

    def authorities() -> list[int]:
        return [bundle.count(b"BEGIN CERTIFICATE") for bundle in installation.bundles()]

    until(lambda: authorities() == [2], _SOON)
    installation.wait_effective()
