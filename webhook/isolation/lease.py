"""Which replica writes: the holder of a Lease, with the rules of client-go's leader election.

The clocks of replicas are never compared. A replica takes a Lease over only if it has not changed
for its whole duration by the replica's own clock. Its holder stops writing earlier than that if it
cannot renew it. Source: k8s.io/client-go/tools/leaderelection.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any

import structlog

from policies.documents.untyped import as_dict, as_str
from webhook.ports import ConflictError, Leases, UnavailableError

LEASE_SECONDS = 15
_RENEW_SECONDS = 10.0
_RETRY_SECONDS = 2.0
_RELEASE_SECONDS = 2.0


class Election:
    """Whether this replica is the one that writes.

    `identity` must be another in each replica. `clock` gives seconds and never goes back; `now` is
    only written into the Lease, for people. `on_change` is called when this replica starts to
    write, and when it stops.
    """

    def __init__(
        self,
        leases: Leases,
        identity: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.on_change = on_change
        self.problem = ""
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._now = now
        self._leads_until = 0.0
        self._led = False
        # What was last read, and when a reading first gave that.
        self._seen: Mapping[str, Any] = {}
        self._seen_at = 0.0
        self._log = structlog.get_logger()

    @property
    def leading(self) -> bool:
        """Whether this replica may write now."""
        return self._clock() < self._leads_until

    async def run(self) -> None:
        """Acquire the Lease and renew it until cancelled; then release it."""
        try:
            while True:
                await self.step()
                await asyncio.sleep(_RETRY_SECONDS)
        finally:
            await self._release()

    async def step(self) -> None:
        """Acquire or renew the Lease once."""
        started = self._clock()
        try:
            held = await self._acquired()
            self._report("")
            if held:
                # From before the request: the others count from when it arrived.
                self._leads_until = started + _RENEW_SECONDS
            else:
                self._leads_until = 0.0
        except ConflictError:
            # Another replica was faster; the next step reads its record.
            pass
        except UnavailableError as error:
            self._report(str(error))
        if self.leading is not self._led:
            self._led = self.leading
            self._log.info("network policy leader", leading=self._led, identity=self._identity)
            self.on_change()

    async def _acquired(self) -> bool:
        lease = await self._leases.load()
        if lease is None:
            await self._leases.create(self._spec({}))
            return True
        spec = as_dict(lease.get("spec"))
        if spec != self._seen:
            self._seen, self._seen_at = spec, self._clock()
        holder = as_str(spec.get("holderIdentity"))
        if holder and holder != self._identity and self._clock() < self._seen_at + _seconds(spec):
            return False
        renewed = self._spec(spec)
        await self._leases.replace(lease, renewed)
        self._seen, self._seen_at = renewed, self._clock()
        return True

    async def _release(self) -> None:
        """Let another replica take over at once; without an answer it takes over later."""
        if not self.leading:
            return
        self._leads_until = 0.0
        with suppress(UnavailableError, ConflictError, TimeoutError):
            async with asyncio.timeout(_RELEASE_SECONDS):
                lease = await self._leases.load()
                spec = as_dict(lease.get("spec")) if lease else {}
                if lease and spec.get("holderIdentity") == self._identity:
                    released = {**self._spec(spec), "holderIdentity": "", "leaseDurationSeconds": 1}
                    await self._leases.replace(lease, released)

    def _spec(self, before: Mapping[str, Any]) -> dict[str, Any]:
        now = micro_time(self._now())
        renews = before.get("holderIdentity") == self._identity
        transitions = before.get("leaseTransitions")
        count = transitions if isinstance(transitions, int) else 0
        if before and not renews:
            count += 1
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": LEASE_SECONDS,
            "acquireTime": before.get("acquireTime") if renews else now,
            "renewTime": now,
            "leaseTransitions": count,
        }

    def _report(self, problem: str) -> None:
        """Log a problem once, for as long as it lasts."""
        if problem and problem != self.problem:
            self._log.warning("network policy lease not renewed", reason=problem)
        self.problem = problem


def micro_time(moment: datetime) -> str:
    """A moment (UTC) as Kubernetes' MicroTime."""
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _seconds(spec: Mapping[str, Any]) -> float:
    seconds = spec.get("leaseDurationSeconds")
    # Anything else than a sane number must not keep every replica from writing.
    if isinstance(seconds, int) and 0 < seconds <= 10 * LEASE_SECONDS:
        return float(seconds)
    return float(LEASE_SECONDS)
