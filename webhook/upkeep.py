"""Keeps what runs in step with what is stored: the seed, our serving certificate, the caBundle."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from certs.seed import Generation, Seed, SeedError
from webhook.observe import Observer
from webhook.ports import ConflictError, SeedStore, StoredSeed, UnavailableError, WebhookConfigurations
from webhook.readiness import Readiness
from webhook.serving_certificate import ServingCertificate
from webhook.trust import Trust

_FIRST_RETRY_SECONDS = 0.5

SEED, CERTIFICATE, CONFIGURATIONS = "seed", "serving certificate", "webhook configurations"


class Upkeep:
    """A loop that looks at everything, more often while something is missing.

    `configurations` is None where their caBundle is not ours to write. `changed` is told of each new CA (PEM) of ours,
    before anybody can meet a certificate of it.
    """

    def __init__(
        self,
        store: SeedStore,
        trust: Trust,
        certificate: ServingCertificate,
        configurations: WebhookConfigurations | None,
        readiness: Readiness,
        observer: Observer,
        changed: Callable[[bytes], None],
        now: Callable[[], datetime],
        new_secret: Callable[[], bytes],
    ) -> None:
        self._store = store
        self._trust = trust
        self._certificate = certificate
        self._configurations = configurations
        self._readiness = readiness
        self._observer = observer
        self._changed = changed
        self._now = now
        self._new_secret = new_secret
        self._ca = b""
        readiness.expect(SEED, CERTIFICATE, *((CONFIGURATIONS,) if configurations else ()))

    async def run(self, period: float) -> None:
        """Look every `period` seconds, and never end. What cannot be done now is said once, and tried again."""
        said, pause = "", _FIRST_RETRY_SECONDS
        while True:
            problem = await self.once()
            if problem and problem != said:
                self._observer.upkeep_failed(problem)
            said = problem
            pause = min(2 * pause, period) if problem else period
            await asyncio.sleep(pause)

    async def once(self) -> str:
        """Look at everything once; gives what went wrong, in which case the last good state stays in use."""
        problems = []
        for step in (self._keep_seed, self._keep_certificate, self._keep_configurations):
            try:
                await step()
            except (UnavailableError, SeedError) as error:
                problems.append(str(error))
        return "; ".join(problems)

    async def _keep_seed(self) -> None:
        stored = await self._store.load()
        if stored is None:
            stored = await self._first_seed()
        if self._trust.adopt(seed := Seed.parse(stored.entries)):
            self._observer.seed_adopted(seed)
        self._readiness.met(SEED)

    async def _first_seed(self) -> StoredSeed:
        """Store a seed where there is none: the one in use, should somebody have deleted it, else a new one."""
        seed = self._trust.seed or Seed((Generation(self._now().replace(microsecond=0), self._new_secret()),))
        # In a conflict another replica was first, and its seed is the one.
        with suppress(ConflictError):
            await self._store.create(seed.entries)
        stored = await self._store.load()
        if stored is None:
            raise UnavailableError("the seed was deleted as soon as it was there")
        return stored

    async def _keep_certificate(self) -> None:
        if self._trust.seed is None:
            return
        self._certificate.keep(self._now())
        if self._certificate.ca != self._ca:
            self._ca = self._certificate.ca
            self._changed(self._ca)
        self._readiness.met(CERTIFICATE)

    async def _keep_configurations(self) -> None:
        if self._configurations and self._ca:
            if await self._configurations.trust(self._ca):
                self._observer.ca_bundle_written()
            self._readiness.met(CONFIGURATIONS)
