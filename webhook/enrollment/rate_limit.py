"""Limits how often a pod or an address may send a request."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable


class RateLimit:
    """A token bucket for each key: `burst` requests at once, refilled by `burst` every `seconds`.

    `clock` gives seconds. The bucket of a key that is not remembered is full.
    """

    # Bounds memory to a few dozen megabytes against an attacker with many addresses. When the
    # limit is reached, the key that was charged least recently is forgotten.
    _MAX_KEYS = 100_000

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = burst / seconds
        self._clock = clock
        # For each key: the tokens left, and the time at which that was so.
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def spend(self, key: Hashable) -> None:
        """Charge `key` for one request."""
        self._buckets[key] = (max(0.0, self._level(key) - 1), self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._MAX_KEYS:
            self._buckets.popitem(last=False)

    def refund(self, key: Hashable) -> None:
        """Give `key` one request back."""
        self._buckets[key] = (min(float(self._burst), self._level(key) + 1), self._clock())

    def wait(self, key: Hashable) -> int:
        """Whole seconds until `key` may send its next request; 0 means now."""
        return math.ceil(max(0.0, 1 - self._level(key)) / self._rate)

    def _level(self, key: Hashable) -> float:
        """The tokens in the bucket of `key` now."""
        if key not in self._buckets:
            return float(self._burst)
        level, since = self._buckets[key]
        return min(float(self._burst), level + (self._clock() - since) * self._rate)
