"""Keeps the running server in step with the stored state: seed, serving certificate, caBundle."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

from certs.seed import Generation, Seed, SeedError
from webhook.ca.serving_certificate import ServingCertificate
from webhook.ca.trust import Trust
from webhook.ports import (
    ConflictError,
    SeedStore,
    StoredSeed,
    UnavailableError,
    WebhookConfigurations,
)
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness

# After a failure the pause doubles, from this one up to the period of the loop.
_FIRST_RETRY_SECONDS = 0.5
# While the replica is unready, a pod or a rollout is waiting for it: retry more often.
_MAX_UNREADY_PAUSE_SECONDS = 3.0

SEED, CERTIFICATE, CONFIGURATIONS = "seed", "serving certificate", "webhook configurations"


class Reconciler:
    """A loop that reads the stored state, applies it, and writes what is missing.

    `configurations` is None if RayWarden does not write its caBundle. A new CA is written into the
    webhook configurations before RayWarden presents a certificate from it; otherwise the API server
    would not trust that certificate. `on_ca_change` receives each new CA bundle (PEM) of the ports.
    """

    def __init__(
        self,
        store: SeedStore,
        trust: Trust,
        certificate: ServingCertificate,
        configurations: WebhookConfigurations | None,
        readiness: Readiness,
        observer: Observer,
        on_ca_change: Callable[[bytes], None],
        now: Callable[[], datetime],
        new_secret: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._trust = trust
        self._certificate = certificate
        self._configurations = configurations
        self._readiness = readiness
        self._observer = observer
        self._on_ca_change = on_ca_change
        self._now = now
        self._new_secret = new_secret
        self._ca = b""
        readiness.expect(SEED, CERTIFICATE)
        if configurations:
            readiness.expect(CONFIGURATIONS)

    async def run(self, period: float) -> None:
        """Reconcile every `period` seconds, and sooner after a failure; never returns.

        The same failure is logged once and counted each time.
        """
        last_problem, pause = "", _FIRST_RETRY_SECONDS
        while True:
            problem = await self.reconcile()
            if problem:
                self._observer.reconcile_failed(problem, repeated=problem == last_problem)
            last_problem = problem
            longest = period
            if not self._readiness.ready:
                longest = min(_MAX_UNREADY_PAUSE_SECONDS, period)
            pause = min(2 * pause, longest) if problem else period
            await asyncio.sleep(pause)

    async def reconcile(self) -> str:
        """Reconcile everything once; returns what failed, or an empty string.

        After a failure the last good state stays in use.
        """
        problem = await _problem(self._reconcile_seed)
        if not problem:
            # Only with the current seed: a replica that cannot read the seed may be behind, and
            # must not overwrite the caBundle that another replica has written.
            problem = await _problem(self._reconcile_configurations)
        # Only if the API server is known to trust the new CA may the certificate come from it.
        may_change_issuer = not problem
        certificate_problem = await _problem(
            partial(self._reconcile_certificate, may_change_issuer)
        )
        problems = (problem, certificate_problem)
        return "; ".join(dict.fromkeys(filter(None, problems)))

    async def _reconcile_seed(self) -> None:
        stored = await self._store.load()
        if stored is None:
            stored = await self._create_seed()
        seed = Seed.parse(stored.entries)
        if self._trust.seed and not seed.shares_with(self._trust.seed):
            seed = await self._merge(stored, seed, self._trust.seed)
        if self._trust.adopt(seed):
            self._observer.seed_adopted(seed)
        self._readiness.met(SEED)

    async def _merge(self, stored: StoredSeed, seed: Seed, ours: Seed) -> Seed:
        """Store the generations of both seeds.

        The seed was deleted, and a replica that started then has created a new one. The running
        clusters depend on the generations that this replica still knows.
        """
        both = Seed((*seed.generations, *ours.generations))
        await self._store.replace(stored, both.entries)
        return both

    async def _create_seed(self) -> StoredSeed:
        """Store a seed where there is none: the one in use if it was deleted, else a new one."""
        seed = self._trust.seed
        if seed is None:
            activated = self._now().replace(microsecond=0)
            seed = Seed((Generation(activated, self._new_secret()),))
        # On a conflict another replica was first; its seed is used.
        with suppress(ConflictError):
            await self._store.create(seed.entries)
        stored = await self._store.load()
        if stored is None:
            raise UnavailableError("the seed was deleted right after it was created")
        return stored

    async def _reconcile_configurations(self) -> None:
        if self._configurations and self._trust.seed:
            if await self._configurations.trust(self._certificate.ca):
                self._observer.ca_bundle_written()
            self._readiness.met(CONFIGURATIONS)

    async def _reconcile_certificate(self, may_change_issuer: bool) -> None:
        if self._trust.seed is None:
            return
        self._certificate.keep(self._now(), may_change_issuer)
        if self._certificate.ca != self._ca:
            self._ca = self._certificate.ca
            self._on_ca_change(self._ca)
        self._readiness.met(CERTIFICATE)


async def _problem(step: Callable[[], Awaitable[None]]) -> str:
    """Run a step; returns why it failed, or an empty string."""
    try:
        await step()
    except (UnavailableError, ConflictError, SeedError) as error:
        return str(error)
    return ""
