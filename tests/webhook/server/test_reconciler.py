"""The reconciler keeps seed, serving certificate and caBundle in step with the stored state."""

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
    """Webhook configurations that count writes, and can be unavailable."""

    def __init__(self) -> None:
        self.bundle = b""
        self.writes = 0
        self.unavailable = False

    async def trust(self, ca: bytes) -> bool:
        if self.unavailable:
            raise UnavailableError("connection refused")
        written = ca != self.bundle
        self.bundle = ca
        self.writes += written
        return written


class Replica:
    """One replica's reconciler on a seed store, which replicas can share."""

    def __init__(
        self,
        store: Any,
        configurations: WebhookConfigurations | None = None,
        secret: bytes = live_objects.secret(5),
    ) -> None:
        self.trust = Trust(None, Domains(), 100)
        self.readiness = Readiness(lambda ready: None)
        self.readiness.met("open ports")
        self.published_cas: list[bytes] = []
        self.now = live_objects.NOW
        self.certificate: ServingCertificate = DerivedCertificate(self.trust, ("localhost",))
        self.reconciler = Reconciler(
            store,
            self.trust,
            self.certificate,
            configurations,
            self.readiness,
            Observer(Metrics(), time.perf_counter),
            self.published_cas.append,
            lambda: self.now,
            lambda: secret,
        )

    def reconcile(self) -> str:
        return asyncio.run(self.reconciler.reconcile())


def test_the_first_replica_creates_the_seed_and_the_others_read_it() -> None:
    store = MemorySeedStore()
    first = Replica(store, secret=live_objects.secret(6))
    second = Replica(store, secret=live_objects.secret(7))
    assert (first.reconcile(), second.reconcile()) == ("", "")
    assert first.trust.seed == second.trust.seed
    assert first.trust.serving_ca == second.trust.serving_ca
    assert first.readiness.ready and second.readiness.ready


def test_a_replica_that_loses_the_race_uses_the_winners_seed() -> None:
    class Race(MemorySeedStore):
        async def create(self, entries: Mapping[str, bytes]) -> None:
            await super().create(live_objects.SEED.entries)
            raise ConflictError("another replica was first")

    loser = Replica(Race())
    assert loser.reconcile() == ""
    assert loser.trust.seed == live_objects.SEED


def test_a_deleted_seed_is_restored() -> None:
    store = MemorySeedStore()
    replica = Replica(store)
    replica.reconcile()
    store._stored = None
    assert replica.reconcile() == ""
    stored = asyncio.run(store.load())
    assert stored is not None and Seed.parse(stored.entries) == replica.trust.seed


def stored(seed: Seed) -> MemorySeedStore:
    store = MemorySeedStore()
    store._stored = StoredSeed(seed.entries, "1")
    return store


def test_a_malformed_seed_is_neither_used_nor_replaced() -> None:
    store = stored(live_objects.SEED)
    new, running = Replica(store), Replica(store)
    running.reconcile()
    store._stored = broken = StoredSeed({"seed": b"x"}, "2")
    assert "the name of entry 'seed' is not an activation time" in new.reconcile()
    assert not new.readiness.ready and "seed" in new.readiness.missing
    assert "the name of entry 'seed' is not an activation time" in running.reconcile()
    assert running.readiness.ready and running.trust.seed == live_objects.SEED
    assert asyncio.run(store.load()) is broken


def test_without_an_api_server_the_certificate_is_still_renewed() -> None:
    class Store(MemorySeedStore):
        unavailable = False

        async def load(self) -> StoredSeed | None:
            if self.unavailable:
                raise UnavailableError("connection refused")
            return await super().load()

    store, configurations = Store(), Configurations()
    replica = Replica(store, configurations)
    assert replica.reconcile() == ""
    first = leaf_of(replica.certificate)
    store.unavailable = configurations.unavailable = True
    replica.now += timedelta(days=6)
    assert replica.reconcile() == "connection refused"
    assert leaf_of(replica.certificate) != first
    assert replica.readiness.ready


def test_a_certificate_from_a_new_ca_waits_until_the_ca_bundle_is_written() -> None:
    store, configurations = stored(live_objects.SEED), Configurations()
    replica = Replica(store, configurations)
    replica.reconcile()
    leaf = leaf_of(replica.certificate)
    store._stored = StoredSeed(ROTATED.without(live_objects.GENERATION.name).entries, "2")
    configurations.unavailable, replica.now = True, live_objects.NEXT_GENERATION.activated
    assert replica.reconcile() == "connection refused"
    renewed = x509.load_der_x509_certificate(leaf_of(replica.certificate))
    assert renewed.issuer == x509.load_der_x509_certificate(leaf).issuer
    renewed.verify_directly_issued_by(x509.load_pem_x509_certificate(configurations.bundle))
    configurations.unavailable = False
    assert replica.reconcile() == ""
    x509.load_der_x509_certificate(leaf_of(replica.certificate)).verify_directly_issued_by(
        x509.load_pem_x509_certificate(configurations.bundle)
    )


def test_a_replica_that_cannot_read_the_seed_does_not_overwrite_the_ca_bundle() -> None:
    class Store(MemorySeedStore):
        async def load(self) -> StoredSeed | None:
            raise UnavailableError("connection refused")

    configurations = Configurations()
    behind = Replica(stored(live_objects.SEED), configurations)
    behind.reconcile()
    configurations.bundle = b"written by a replica with a newer seed"
    behind.reconciler._store = Store()
    behind.reconcile()
    assert configurations.bundle.startswith(b"written by a replica")


def test_a_recreated_seed_is_merged_with_that_of_a_running_replica() -> None:
    store = MemorySeedStore()
    running = Replica(store, secret=live_objects.secret(6))
    running.reconcile()
    before = running.trust.serving.certificate
    store._stored = None
    fresh = Replica(store, secret=live_objects.secret(7))
    fresh.now += timedelta(days=1)
    fresh.reconcile()
    assert running.reconcile() == fresh.reconcile() == ""
    assert running.trust.seed == fresh.trust.seed
    assert len(asyncio.run(store.load()).entries) == 2  # type: ignore[union-attr]  # it is stored
    assert running.trust.serving.certificate == before, "the running clusters keep their CAs"


def test_a_ca_that_is_not_valid_now_signs_nothing() -> None:
    replica = Replica(stored(Seed((live_objects.NEXT_GENERATION,))))
    problem = replica.reconcile()
    validity = "the CA of RayWarden's own ports is valid from 2026-11-30 to 2036-11-27"
    assert f"{validity}: add a generation" in problem
    assert "serving certificate" in replica.readiness.missing


def test_the_ca_bundle_is_written_once_and_again_after_others_changed_it() -> None:
    configurations = Configurations()
    replica = Replica(stored(live_objects.SEED), configurations)
    for _ in range(3):
        replica.reconcile()
    assert (configurations.writes, configurations.bundle) == (1, replica.trust.serving_ca)
    configurations.bundle = b"garbage"
    replica.reconcile()
    assert (configurations.writes, configurations.bundle) == (2, replica.trust.serving_ca)


def test_a_replica_is_not_ready_before_the_api_server_trusts_it() -> None:
    configurations = Configurations()
    configurations.unavailable = True
    replica = Replica(stored(live_objects.SEED), configurations)
    replica.reconcile()
    assert replica.readiness.missing == ("webhook configurations",)
    configurations.unavailable = False
    replica.reconcile()
    assert replica.readiness.ready


def test_a_rotation_reaches_the_ca_bundle_before_the_new_ca_issues_a_certificate() -> None:
    store, configurations = stored(live_objects.SEED), Configurations()
    replica = Replica(store, configurations)
    replica.reconcile()
    leaf = leaf_of(replica.certificate)
    store._stored = StoredSeed(ROTATED.entries, "2")
    replica.reconcile()
    assert configurations.bundle == replica.published_cas[-1] == replica.trust.serving_ca
    assert len(x509.load_pem_x509_certificates(replica.trust.serving_ca)) == 2
    assert leaf_of(replica.certificate) == leaf, "a rotation renews no certificate"
    replica.now = live_objects.NEXT_GENERATION.activated
    retired = ROTATED.retire(live_objects.GENERATION.name, replica.now)
    store._stored = StoredSeed(retired.entries, "3")
    replica.reconcile()
    assert leaf_of(replica.certificate) != leaf
    assert configurations.writes == 2, "the CA that signs now was already in the bundle"


def test_pods_trust_a_new_ca_from_its_activation_with_every_replica() -> None:
    replica = Replica(stored(ROTATED))
    replica.reconcile()
    activated = live_objects.NEXT_GENERATION.activated
    old, both = serving_authority(live_objects.GENERATION).pem, replica.trust.serving_ca
    assert replica.trust.pod_ca(activated - timedelta(seconds=1)) == old
    assert replica.trust.pod_ca(activated) == both != old
    clock_set_back = live_objects.GENERATION.activated - timedelta(days=1)
    assert replica.trust.pod_ca(clock_set_back) == old
    replica.trust.adopt(ROTATED.retire(live_objects.GENERATION.name, live_objects.NOW))
    assert replica.trust.pod_ca(live_objects.NOW) == both, "pods trust the serving CA"


def test_no_key_of_a_forgotten_generation_stays_in_memory() -> None:
    store = stored(ROTATED)
    replica = Replica(store)
    replica.reconcile()
    before = replica.trust.authorities
    store._stored = StoredSeed(ROTATED.without(live_objects.GENERATION.name).entries, "2")
    replica.reconcile()
    assert replica.trust.authorities is not before
    assert replica.trust.seed and live_objects.GENERATION not in replica.trust.seed.generations


def test_a_seed_is_not_created_in_a_mounted_folder(tmp_path: Path) -> None:
    replica = Replica(DirectorySeedStore(tmp_path))
    assert "put a file of 32 random bytes there" in replica.reconcile()
    without_folder = Replica(DirectorySeedStore(tmp_path / "missing"))
    assert "cannot be read: No such file or directory" in without_folder.reconcile()


def test_a_running_server_follows_its_seed(tmp_path: Path) -> None:
    for name, secret in live_objects.SEED.entries.items():
        (tmp_path / name).write_bytes(secret)
    environment = {"RAYWARDEN_SEED_DIR": str(tmp_path), "RAYWARDEN_RESYNC_SECONDS": "0.1"}
    with serving(environment, live_objects.objects()) as server:
        before = server.ca_file.read_bytes()
        (tmp_path / live_objects.NEXT_GENERATION.name).write_bytes(
            live_objects.NEXT_GENERATION.secret
        )
        wait(lambda: metric(server, 'raywarden_seed_generations{state="signing"}') == 2)
        wait(lambda: server.ca_file.read_bytes() != before)
        assert server.ca_file.read_bytes().startswith(before)
        (tmp_path / "invalid").write_bytes(b"")
        wait(lambda: metric(server, "raywarden_reconcile_errors_total") >= 3)
        # A lasting failure is counted each time and logged once.
        (failure,) = [event for event in server.log() if event["event"] == "reconcile failed"]
        assert "the name of entry 'invalid' is not an activation time" in failure["reason"]
        assert metric(server, "raywarden_ready") == 1


def wait(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
