"""Seed, serving certificate and caBundle, kept in step with what is stored."""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography import x509

from certs.authority import serving_authority
from certs.identity import Domains
from certs.seed import Seed
from tests.support import live_objects
from tests.support.handshakes import leaf_of
from tests.support.live_server import metric, serving
from webhook.ca.seed_store import DirectorySeedStore, MemorySeedStore
from webhook.ca.serving_certificate import DerivedCertificate, ServingCertificate
from webhook.ca.trust import Trust
from webhook.metrics.registry import Metrics
from webhook.ports import ConflictError, StoredSeed, UnavailableError, WebhookConfigurations
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.reconciler import Reconciler

ROTATED = live_objects.SEED.with_generation(live_objects.NEXT_GENERATION)


class Configurations:
    """Webhook configurations that count what is written, and can be away."""

    def __init__(self) -> None:
        self.bundle = b""
        self.writes = 0
        self.away = False

    async def trust(self, ca: bytes) -> bool:
        if self.away:
            raise UnavailableError("connection refused")
        written = ca != self.bundle
        self.bundle = ca
        self.writes += written
        return written


class Replica:
    """One replica's upkeep over a store."""

    def __init__(
        self,
        store: Any,
        configurations: WebhookConfigurations | None = None,
        secret: bytes = live_objects.secret(5),
    ) -> None:
        self.trust = Trust(None, Domains(), 100)
        self.readiness = Readiness(lambda ready: None)
        self.readiness.met("open ports")
        self.told: list[bytes] = []
        self.now = live_objects.NOW
        self.certificate: ServingCertificate = DerivedCertificate(self.trust, ("localhost",))
        self.reconciler = Reconciler(
            store,
            self.trust,
            self.certificate,
            configurations,
            self.readiness,
            Observer(Metrics(), time.perf_counter),
            self.told.append,
            lambda: self.now,
            lambda: secret,
        )

    def once(self) -> str:
        return asyncio.run(self.reconciler.once())


def test_the_first_replica_makes_the_seed_and_the_others_read_it() -> None:
    store = MemorySeedStore()
    first, second = (
        Replica(store, secret=live_objects.secret(6)),
        Replica(store, secret=live_objects.secret(7)),
    )
    assert (first.once(), second.once()) == ("", "")
    assert first.trust.seed == second.trust.seed
    assert first.trust.serving_ca == second.trust.serving_ca
    assert first.readiness.ready and second.readiness.ready


def test_whoever_loses_the_race_takes_the_winners_seed() -> None:
    class Race(MemorySeedStore):
        async def create(self, entries: Mapping[str, bytes]) -> None:
            await super().create(live_objects.SEED.entries)
            raise ConflictError("somebody else was first")

    loser = Replica(Race())
    assert loser.once() == ""
    assert loser.trust.seed == live_objects.SEED


def test_a_seed_that_was_deleted_is_put_back() -> None:
    store = MemorySeedStore()
    replica = Replica(store)
    replica.once()
    store._stored = None
    assert replica.once() == ""
    assert Seed.parse(asyncio.run(store.load()).entries) == replica.trust.seed  # type: ignore[union-attr]  # it is stored


def stored(seed: Seed) -> MemorySeedStore:
    store = MemorySeedStore()
    store._stored = StoredSeed(seed.entries, "1")
    return store


def test_a_malformed_seed_is_never_taken_nor_replaced() -> None:
    store = stored(live_objects.SEED)
    new, running = Replica(store), Replica(store)
    running.once()
    store._stored = broken = StoredSeed({"seed": b"x"}, "2")
    assert "the name of entry 'seed' is not an activation time" in new.once()
    assert not new.readiness.ready and "seed" in new.readiness.lacks
    assert "the name of entry 'seed' is not an activation time" in running.once()
    assert running.readiness.ready and running.trust.seed == live_objects.SEED
    assert asyncio.run(store.load()) is broken


def test_without_an_api_server_what_is_there_goes_on_and_is_renewed() -> None:
    class Store(MemorySeedStore):
        away = False

        async def load(self) -> StoredSeed | None:
            if self.away:
                raise UnavailableError("connection refused")
            return await super().load()

    store, configurations = Store(), Configurations()
    replica = Replica(store, configurations)
    assert replica.once() == ""
    first = leaf_of(replica.certificate)
    store.away = configurations.away = True
    replica.now += timedelta(days=6)
    assert replica.once() == "connection refused"
    assert leaf_of(replica.certificate) != first
    assert replica.readiness.ready


def test_the_api_server_is_told_of_a_new_ca_before_our_certificate_is_of_it() -> None:
    store, configurations = stored(live_objects.SEED), Configurations()
    replica = Replica(store, configurations)
    replica.once()
    leaf = leaf_of(replica.certificate)
    store._stored = StoredSeed(ROTATED.without(live_objects.GENERATION.name).entries, "2")
    configurations.away, replica.now = True, live_objects.NEXT_GENERATION.activated
    assert replica.once() == "connection refused"
    renewed = x509.load_der_x509_certificate(leaf_of(replica.certificate))
    assert renewed.issuer == x509.load_der_x509_certificate(leaf).issuer
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate(configurations.bundle))
    configurations.away = False
    assert replica.once() == ""
    x509.load_der_x509_certificate(leaf_of(replica.certificate)).verify_directly_issued_by(
        x509.load_pem_x509_certificate(configurations.bundle)
    )


def test_a_replica_that_cannot_see_the_seed_takes_no_bundle_back() -> None:
    class Store(MemorySeedStore):
        async def load(self) -> StoredSeed | None:
            raise UnavailableError("connection refused")

    configurations = Configurations()
    behind = Replica(stored(live_objects.SEED), configurations)
    behind.once()
    configurations.bundle = b"what a replica that has seen more has written"
    behind.reconciler._store = Store()
    behind.once()
    assert configurations.bundle.startswith(b"what a replica")


def test_a_seed_made_anew_beside_a_running_replica_is_united_with_its_own() -> None:
    store = MemorySeedStore()
    running = Replica(store, secret=live_objects.secret(6))
    running.once()
    before = running.trust.serving.certificate
    store._stored = None
    fresh = Replica(store, secret=live_objects.secret(7))
    fresh.now += timedelta(days=1)
    fresh.once()
    assert running.once() == fresh.once() == ""
    assert running.trust.seed == fresh.trust.seed
    assert len(asyncio.run(store.load()).entries) == 2  # type: ignore[union-attr]  # it is stored
    assert running.trust.serving.certificate == before, "what clusters run on goes on"


def test_a_ca_that_is_not_valid_now_signs_nothing() -> None:
    replica = Replica(stored(Seed((live_objects.NEXT_GENERATION,))))
    assert (
        "the CA of our own ports is valid from 2026-11-30 to 2036-11-27: add a generation"
        in replica.once()
    )
    assert "serving certificate" in replica.readiness.lacks


def test_the_ca_bundle_is_written_once_and_again_when_somebody_changed_it() -> None:
    configurations = Configurations()
    replica = Replica(stored(live_objects.SEED), configurations)
    for _ in range(3):
        replica.once()
    assert (configurations.writes, configurations.bundle) == (1, replica.trust.serving_ca)
    configurations.bundle = b"garbage"
    replica.once()
    assert (configurations.writes, configurations.bundle) == (2, replica.trust.serving_ca)


def test_it_is_not_ready_before_the_api_server_trusts_it() -> None:
    configurations = Configurations()
    configurations.away = True
    replica = Replica(stored(live_objects.SEED), configurations)
    replica.once()
    assert replica.readiness.lacks == ("webhook configurations",)
    configurations.away = False
    replica.once()
    assert replica.readiness.ready


def test_a_rotation_reaches_the_bundle_before_any_certificate_of_the_new_ca() -> None:
    store, configurations = stored(live_objects.SEED), Configurations()
    replica = Replica(store, configurations)
    replica.once()
    leaf = leaf_of(replica.certificate)
    store._stored = StoredSeed(ROTATED.entries, "2")
    replica.once()
    assert configurations.bundle == replica.told[-1] == replica.trust.serving_ca
    assert len(x509.load_pem_x509_certificates(replica.trust.serving_ca)) == 2
    assert leaf_of(replica.certificate) == leaf, "a rotation renews no certificate"
    replica.now = live_objects.NEXT_GENERATION.activated
    retired = ROTATED.retire(live_objects.GENERATION.name, replica.now)
    store._stored = StoredSeed(retired.entries, "3")
    replica.once()
    assert leaf_of(replica.certificate) != leaf
    assert configurations.writes == 2, "the CA that signs now was in the bundle already"


def test_pods_trust_a_new_ca_from_its_activation_on_whichever_replica_they_meet() -> None:
    replica = Replica(stored(ROTATED))
    replica.once()
    activated = live_objects.NEXT_GENERATION.activated
    old, both = serving_authority(live_objects.GENERATION).pem, replica.trust.serving_ca
    assert replica.trust.pod_ca(activated - timedelta(seconds=1)) == old
    assert replica.trust.pod_ca(activated) == both != old
    assert replica.trust.pod_ca(live_objects.GENERATION.activated - timedelta(days=1)) == old, (
        "the clock went back"
    )
    replica.trust.adopt(ROTATED.retire(live_objects.GENERATION.name, live_objects.NOW))
    assert replica.trust.pod_ca(live_objects.NOW) == both, "whatever serves is trusted"


def test_no_key_of_a_forgotten_generation_stays() -> None:
    replica = Replica(store := stored(ROTATED))
    replica.once()
    before = replica.trust.authorities
    store._stored = StoredSeed(ROTATED.without(live_objects.GENERATION.name).entries, "2")
    replica.once()
    assert replica.trust.authorities is not before
    assert replica.trust.seed and live_objects.GENERATION not in replica.trust.seed.generations


def test_a_folder_is_read_as_a_secret_volume_lies_in_it(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_20").mkdir()
    (tmp_path / "..2026_11_20" / "20260101T000000Z").write_bytes(live_objects.secret(2))
    (tmp_path / "..data").symlink_to("..2026_11_20")
    (tmp_path / "20260101T000000Z").symlink_to("..data/20260101T000000Z")
    found = asyncio.run(DirectorySeedStore(tmp_path).load())
    assert found and found.entries == {"20260101T000000Z": live_objects.secret(2)}


def test_a_folder_without_a_seed_is_no_place_to_make_one(tmp_path: Path) -> None:
    replica = Replica(DirectorySeedStore(tmp_path))
    assert "put a file of 32 random bytes there" in replica.once()
    gone = Replica(DirectorySeedStore(tmp_path / "gone"))
    assert "cannot be read: No such file or directory" in gone.once()


def test_a_running_server_follows_its_seed(tmp_path: Path) -> None:
    for name, secret in live_objects.SEED.entries.items():
        (tmp_path / name).write_bytes(secret)
    environment = {"RAYWARDEN_SEED_DIR": str(tmp_path), "RAYWARDEN_RESYNC_SECONDS": "0.1"}
    with serving(environment, live_objects.objects()) as live:
        before = live.ca_file.read_bytes()
        (tmp_path / live_objects.NEXT_GENERATION.name).write_bytes(
            live_objects.NEXT_GENERATION.secret
        )
        wait(lambda: metric(live, 'raywarden_seed_generations{state="signing"}') == 2)
        wait(lambda: live.ca_file.read_bytes() != before)
        assert live.ca_file.read_bytes().startswith(before)
        (tmp_path / "rubbish").write_bytes(b"")
        wait(lambda: metric(live, "raywarden_reconcile_errors_total") >= 3)
        # Counted for as long as it lasts, and said once.
        (failure,) = [event for event in live.log() if event["event"] == "reconcile failed"]
        assert "the name of entry 'rubbish' is not an activation time" in failure["reason"]
        assert metric(live, "raywarden_ready") == 1


def wait(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
