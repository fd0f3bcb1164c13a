"""How often somebody may ask."""

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable


class RateLimit:
    """A token bucket for each key: `burst` requests at once, then `burst` more for every `seconds`.

    `clock` gives seconds. At most 100,000 keys are remembered; the one unheard of for longest is forgotten first.
    """

    _MAX_KEYS = 100_000

    def __init__(self, burst: int, seconds: float, clock: Callable[[], float]) -> None:
        self._burst = burst
        self._rate = burst / seconds
        self._clock = clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def spend(self, key: Hashable) -> None:
        """Count one request of `key`."""
        self._buckets[key] = (max(0.0, self._level(key) - 1), self._clock())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._MAX_KEYS:
            self._buckets.popitem(last=False)

    def refund(self, key: Hashable) -> None:
        """One request of `key` did not count."""
        self._buckets[key] = (min(float(self._burst), self._level(key) + 1), self._clock())

    def wait(self, key: Hashable) -> int:
        """Whole seconds until `key` may ask again; 0 for now."""
        return math.ceil(max(0.0, 1 - self._level(key)) / self._rate)

    def _level(self, key: Hashable) -> float:
        if key not in self._buckets:
            return float(self._burst)
        level, since = self._buckets[key]
        return min(float(self._burst), level + (self._clock() - since) * self._rate)
