"""What others do to the seed and the caBundle while we serve, and how it is made good."""

import base64
import os
import time

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import Installation, until
from tests.apiserver.replica import RESYNC_SECONDS, Replica

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

Pair = tuple[Replica, Replica]
# A look every RESYNC_SECONDS, and time for the look itself on a busy machine.
_SOON = RESYNC_SECONDS + 5


def test_a_ca_bundle_of_others_is_overwritten(installation: Installation, pair: Pair) -> None:
    good = installation.bundles()
    installation.spoil()
    until(lambda: installation.bundles() == good, _SOON)


def test_a_seed_that_was_deleted_is_put_back(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    stored, bundles = control_plane.get(installation.secret), installation.bundles()
    adopted = [replica.log("seed adopted") for replica in pair]
    control_plane.delete(installation.secret)
    again = until(lambda: control_plane.get(installation.secret), _SOON)
    assert again["data"] == stored["data"]
    assert again["metadata"]["uid"] != stored["metadata"]["uid"]
    time.sleep(2 * RESYNC_SECONDS)
    assert [replica.log("seed adopted") for replica in pair] == adopted, "it is no other one"
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
def test_a_seed_that_cannot_be_used_is_told_once_and_the_last_good_one_stays(
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
        assert [event["reason"] for event in replica.log("reconcile failed")[len(earlier) :]] == [
            problem
        ]
        assert not replica.missing


def test_a_seed_that_others_have_made_is_joined_with_ours(
    control_plane: ControlPlane, installation: Installation, pair: Pair
) -> None:
    ours = control_plane.get(installation.secret)["data"]
    theirs = {"20261101T000000Z": base64.b64encode(os.urandom(32)).decode()}
    control_plane.patch(installation.secret, {"data": {**dict.fromkeys(ours), **theirs}})
    until(lambda: control_plane.get(installation.secret)["data"] == {**ours, **theirs}, _SOON)
    for replica in pair:
        replica.wait_logged("seed adopted", generations=[*theirs, *ours])
        assert not replica.missing
    until(
        lambda: [bundle.count(b"BEGIN CERTIFICATE") for bundle in installation.bundles()] == [2],
        _SOON,
    )
    installation.wait_effective()
