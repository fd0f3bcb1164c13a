"""Keeps what runs in step with what is stored: the seed, our serving certificate, the caBundle."""

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

_FIRST_RETRY_SECONDS = 0.5
_UNREADY_PAUSE_SECONDS = 3.0

SEED, CERTIFICATE, CONFIGURATIONS = "seed", "serving certificate", "webhook configurations"


class Reconciler:
    """A loop that looks at everything, more often while something is missing.

    `configurations` is None where their caBundle is not ours to write. The API server is told of a new CA before our
    certificate is of it. `changed` is told of each CA (PEM) of ours.
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
            if problem:
                self._observer.reconcile_failed(problem, again=problem == said)
            said = problem
            # While something is missing nobody can use us.
            most = period if self._readiness.ready else min(_UNREADY_PAUSE_SECONDS, period)
            pause = min(2 * pause, most) if problem else period
            await asyncio.sleep(pause)

    async def once(self) -> str:
        """Look at everything once; gives what went wrong, in which case the last good state stays in use."""
        problem = await _problem(self._keep_seed)
        # A replica that cannot see the seed may be behind: it must not take back what others have written.
        unwritten = problem or await _problem(self._keep_configurations)
        uncertain = await _problem(partial(self._keep_certificate, may_change=not unwritten))
        return "; ".join(dict.fromkeys(filter(None, (unwritten, uncertain))))

    async def _keep_seed(self) -> None:
        stored = await self._store.load()
        if stored is None:
            stored = await self._first_seed()
        seed = Seed.parse(stored.entries)
        if self._trust.seed and not seed.shares_with(self._trust.seed):
            seed = await self._reunited(stored, seed, self._trust.seed)
        if self._trust.adopt(seed):
            self._observer.seed_adopted(seed)
        self._readiness.met(SEED)

    async def _reunited(self, stored: StoredSeed, seed: Seed, ours: Seed) -> Seed:
        """Somebody deleted the seed, and a replica that started then has made another: keep what clusters run on."""
        both = Seed((*seed.generations, *ours.generations))
        await self._store.replace(stored, both.entries)
        return both

    async def _first_seed(self) -> StoredSeed:
        """Store a seed where there is none: the one in use, should somebody have deleted it, else a new one."""
        seed = self._trust.seed or Seed(
            (Generation(self._now().replace(microsecond=0), self._new_secret()),)
        )
        # In a conflict another replica was first, and its seed is the one.
        with suppress(ConflictError):
            await self._store.create(seed.entries)
        stored = await self._store.load()
        if stored is None:
            raise UnavailableError("the seed was deleted as soon as it was there")
        return stored

    async def _keep_configurations(self) -> None:
        if self._configurations and self._trust.seed:
            if await self._configurations.trust(self._certificate.ca):
                self._observer.ca_bundle_written()
            self._readiness.met(CONFIGURATIONS)

    async def _keep_certificate(self, may_change: bool) -> None:
        if self._trust.seed is None:
            return
        self._certificate.keep(self._now(), may_change)
        if self._certificate.ca != self._ca:
            self._ca = self._certificate.ca
            self._changed(self._ca)
        self._readiness.met(CERTIFICATE)


async def _problem(step: Callable[[], Awaitable[None]]) -> str:
    try:
        await step()
    except (UnavailableError, ConflictError, SeedError) as error:
        return str(error)
    return ""
