"""Limits how often a pod or an address may send a request."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

# Far above the errors of hundreds of additions, and far below the time for one request.
_ROUNDING_SECONDS = 1e-6


class RateLimit:
    """A token bucket for each key: `burst` requests at once, refilled by `burst` every `seconds`.

    `clock` gives seconds. The bucket of a key that is not remembered is full.
    """

    # Bounds memory to some tens of megabytes against an attacker with many addresses. When the
    # limit is reached, the key that was charged least recently is forgotten.
    _MAX_KEYS = 100_000

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float]) -> None:
        self._refill_seconds = seconds
        self._request_seconds = seconds / burst
        self._clock = clock
        # For each key: when its bucket will be full again. One number says what the bucket holds,
        # and a bucket that is full needs none (the algorithm is known as GCRA).
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def spend(self, key: Hashable) -> None:
        """Charge `key` for one request."""
        now = self._clock()
        charged = max(self._full_at.get(key, now), now) + self._request_seconds
        self._full_at[key] = min(charged, now + self._refill_seconds)
        self._full_at.move_to_end(key)
        self._forget(now)

    def refund(self, key: Hashable) -> None:
        """Give `key` one request back."""
        full_at = self._full_at.get(key, 0.0) - self._request_seconds
        if full_at > self._clock():
            self._full_at[key] = full_at
        else:
            self._full_at.pop(key, None)

    def wait(self, key: Hashable) -> int:
        """Whole seconds until `key` may send its next request; 0 means now."""
        full_at = self._full_at.get(key)
        if full_at is None:
            return 0
        missing = full_at - self._clock() + self._request_seconds - self._refill_seconds
        return math.ceil(max(0.0, missing - _ROUNDING_SECONDS))

    def _forget(self, now: float) -> None:
        """Forget buckets that are full again, a few at a time, and those beyond the limit."""
        # Each charge adds one at most, so two keep up with it.
        for _ in range(2):
            key = next(iter(self._full_at))
            if self._full_at[key] > now and len(self._full_at) <= self._MAX_KEYS:
                return
            del self._full_at[key]
