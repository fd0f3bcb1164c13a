"""Rotation of the seed: which cluster uses what, and which pods must restart."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from rich.console import Console

from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.rotation import pod_certificate_status
from certs.seed import Generation, Seed
from tests.support import live_objects
from tests.support.factory import Object, changed
from webhook.ca import report
from webhook.ca.inventory import Inventory, take_inventory
from webhook.ca.rotation import Rotation
from webhook.ca.seed_store import MemorySeedStore
from webhook.ports import ConflictError, StoredSeed
from webhook.settings import SetupError

OLD = Generation(datetime(2026, 1, 1, tzinfo=UTC), live_objects.secret(2))
NEW = Generation(datetime(2026, 6, 1, tzinfo=UTC), live_objects.secret(3))
CREATED_UNDER_OLD = Cluster("team-a", "demo", "uid", datetime(2026, 3, 1, tzinfo=UTC))
PROFILE = CertificateProfile(timedelta(days=730))


def at(month: int, year: int = 2026) -> datetime:
    return datetime(year, month, 15, tzinfo=UTC)


def test_before_a_rotation_every_pod_is_up_to_date() -> None:
    status = pod_certificate_status(Seed((OLD,)), CREATED_UNDER_OLD, at(4), PROFILE)
    assert (status.signer, status.missing_new_ca) == (OLD, False)
    assert status.ends == at(4) + timedelta(days=730)


def test_after_a_rotation_older_pods_miss_the_new_ca() -> None:
    seed = Seed((OLD, NEW))
    before, after = (
        pod_certificate_status(seed, CREATED_UNDER_OLD, at(month), PROFILE) for month in (5, 7)
    )
    assert (before.signer, before.missing_new_ca) == (OLD, True)
    assert (after.signer, after.missing_new_ca) == (OLD, False)


def test_after_a_revocation_older_pods_have_a_certificate_of_the_retired_ca() -> None:
    seed = Seed((OLD, NEW)).retire(OLD.name, at(8))
    retired = seed.generations[0]
    assert pod_certificate_status(seed, CREATED_UNDER_OLD, at(7), PROFILE).signer is retired
    assert pod_certificate_status(seed, CREATED_UNDER_OLD, at(9), PROFILE).signer is NEW
    assert seed.for_cluster(CREATED_UNDER_OLD.created) is NEW


def test_a_certificate_of_a_forgotten_generation_has_no_signer() -> None:
    status = pod_certificate_status(Seed((NEW,)), CREATED_UNDER_OLD, at(5), PROFILE)
    assert (status.signer, status.missing_new_ca) == (None, True)


def enrolled(name: str, started: str, document: Object | None = None) -> Object:
    changes = {
        "/metadata/creationTimestamp": started,
        "/spec/initContainers": [{"name": "raywarden-enroll"}],
    }
    return changed(document or live_objects.pod(name, uid=name), changes)


class Objects:
    """The objects of a cluster."""

    def __init__(self, *pods: Object) -> None:
        self._pods = pods

    async def ray_clusters(self) -> Sequence[Mapping[str, Any]]:
        return [live_objects.ray_cluster(), live_objects.ray_cluster("other", "other-uid")]

    async def namespaces(self) -> Sequence[Mapping[str, Any]]:
        return [live_objects.namespace()]

    async def ray_pods(self) -> Sequence[Mapping[str, Any]]:
        return self._pods


class Configurations:
    """RayWarden's webhook configurations, with the CA that was written last."""

    def __init__(self) -> None:
        self.trusted = b""

    async def trust(self, ca: bytes) -> bool:
        written, self.trusted = ca != self.trusted, ca
        return written


def store(seed: Seed) -> MemorySeedStore:
    store = MemorySeedStore()
    store._stored = StoredSeed(seed.entries, "1")
    return store


def rotation(seeds: MemorySeedStore, *pods: Object, now: datetime = live_objects.NOW) -> Rotation:
    return Rotation(
        seeds,
        Objects(*pods),
        Configurations(),
        PROFILE,
        lambda: now,
        lambda: live_objects.secret(4),
    )


def printed(inventory: Inventory) -> str:
    console = Console(width=200, soft_wrap=True, highlight=False)
    with console.capture() as capture:
        console.print(report.as_text(inventory))
    return capture.get()


PODS = (
    enrolled("head", "2026-11-20T08:01:00Z"),
    enrolled("worker", "2027-02-01T00:00:00Z"),
    enrolled("web", "2027-02-01T00:00:00Z", live_objects.opted_in_pod()),
    live_objects.pod("not-enrolled"),
    enrolled("orphan", "2026-11-20T08:01:00Z", live_objects.pod(cluster="gone")),
)


def test_the_list_names_clusters_generations_and_first_expiries() -> None:
    inventory = asyncio.run(rotation(store(live_objects.SEED), *PODS).inventory())
    assert [line.split() for line in printed(inventory).splitlines() if line] == [
        ["generation", "state"],
        [
            "20261101T000000Z",
            *["signs", "for", "2", "clusters", "and", "for", "RayWarden's", "own", "ports"],
        ],
        ["cluster", "generation", "pods", "first", "expiry"],
        ["team-a/demo", "20261101T000000Z", "2", "2028-11-19"],
        ["team-a/django", "20261101T000000Z", "1", "2029-01-31"],
    ]
    document = json.loads(json.dumps(report.as_json(inventory)))
    assert document["clusters"][0]["caEnds"] == "2036-11-17T07:00:00Z"
    assert document["clusters"][0]["ends"] == "2028-11-19T08:01:00Z"


def test_a_complete_rotation_as_an_operator_does_it() -> None:
    seeds = store(live_objects.SEED)
    old = live_objects.GENERATION.name
    added = asyncio.run(rotation(seeds, *PODS).rotate())
    assert added.activated == live_objects.NOW + timedelta(minutes=5)
    before = asyncio.run(rotation(seeds, *PODS).inventory())
    report_before = printed(before)
    assert "will sign for clusters created from 2026-11-20 12:05:00 UTC on" in report_before
    missing = f"team-a/demo: 1 of 2 pods do not trust {added.name}; restart them before `revoke`"
    assert missing in report_before
    later = datetime(2027, 3, 1, tzinfo=UTC)
    after = asyncio.run(rotation(seeds, *PODS, now=later).retire(old))
    report_after = printed(after)
    assert "retired 2027-03-01 00:00:00 UTC: signs nothing, still trusted" in report_after
    outdated = "team-a/demo: 2 of 2 pods still use a retired CA"
    assert f"{outdated}; restart them before `revoke --forget`" in report_after
    restarted = enrolled("head", "2027-03-02T00:00:00Z")
    forgotten = asyncio.run(rotation(seeds, restarted, now=later + timedelta(days=2)).forget(old))
    assert [generation.name for generation in forgotten.seed.generations] == [added.name]
    assert "restart" not in printed(forgotten)


def test_a_generation_is_not_revoked_before_its_successor_is_active() -> None:
    seeds = store(live_objects.SEED)
    added = asyncio.run(rotation(seeds).rotate())
    with pytest.raises(
        SetupError, match=f"{added.name} is not active yet: wait until 2026-11-20 12:05:00 UTC"
    ):
        asyncio.run(rotation(seeds).retire(live_objects.GENERATION.name))
    with pytest.raises(SetupError, match="is not active yet"):
        asyncio.run(rotation(seeds).forget(live_objects.GENERATION.name))


def test_certificates_that_expire_soon_are_reported() -> None:
    late = datetime(2028, 10, 1, tzinfo=UTC)
    inventory = asyncio.run(rotation(store(live_objects.SEED), *PODS, now=late).inventory())
    report_late = printed(inventory)
    expiry = "team-a/demo: a certificate expires on 2028-11-19"
    assert f"{expiry}; restart the cluster's pods before then" in report_late
    assert "team-a/django: a certificate expires" not in report_late


def test_a_cluster_without_enrolled_pods_is_reported_as_such() -> None:
    inventory = asyncio.run(rotation(store(live_objects.SEED)).inventory())
    assert "no pod has enrolled" in printed(inventory)
    assert take_inventory(live_objects.SEED, (), (), (), PROFILE, live_objects.NOW).clusters == ()


def test_the_cas_of_a_cluster_can_be_printed_for_its_clients() -> None:
    seeds = store(live_objects.SEED.with_generation(live_objects.NEXT_GENERATION))
    shown = report.bundle(*asyncio.run(rotation(seeds).trust("team-a", "demo")))
    first, second = x509.load_pem_x509_certificates(shown.encode())
    assert first.subject == second.subject and first != second
    heading = "# team-a/demo: the CAs its pods trust; the first one signs their certificates"
    assert shown.startswith(f"{heading}\n# SHA-256 ")
    assert "PRIVATE" not in shown
    other = report.bundle(*asyncio.run(rotation(seeds).trust("team-a", "django")))
    assert x509.load_pem_x509_certificates(other.encode())[0] != first


@pytest.mark.parametrize(
    ("work", "advice"),
    [
        (
            lambda seed: seed.retire("20200101T000000Z"),
            "there is no such generation; the seed has 20261101T000000Z",
        ),
        (lambda seed: seed.forget("x"), "there is no such generation"),
        (
            lambda seed: seed.retire("20261101T000000Z"),
            "no signing generation would be left; add a new generation first",
        ),
        (
            lambda seed: seed.forget("20261101T000000Z"),
            "no signing generation would be left; add a new generation first",
        ),
        (lambda seed: seed.trust("nowhere", "demo"), "there is no namespace nowhere"),
    ],
)
def test_an_impossible_operation_is_refused_with_advice(work: Any, advice: str) -> None:
    with pytest.raises(SetupError, match=advice):
        asyncio.run(work(rotation(store(live_objects.SEED))))


def test_without_a_seed_the_error_says_who_creates_it() -> None:
    with pytest.raises(
        SetupError, match="there is no seed yet; the server creates it when it starts"
    ):
        asyncio.run(rotation(MemorySeedStore()).inventory())


def test_a_concurrent_change_is_not_overwritten() -> None:
    class Changed(MemorySeedStore):
        async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
            raise ConflictError("changed")

    changed_store = Changed()
    changed_store._stored = StoredSeed(live_objects.SEED.entries, "1")
    with pytest.raises(SetupError, match="the seed was changed at the same time"):
        asyncio.run(rotation(changed_store).rotate())
