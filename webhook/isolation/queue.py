"""The RayClusters whose NetworkPolicies must be examined, each once."""

import asyncio

from webhook.ports import ClusterKey

_FIRST_PAUSE_SECONDS = 0.5
# After errors; a change of the cluster does not shorten the pause.
_LONGEST_ERROR_PAUSE_SECONDS = 60.0
# Somebody else changes the policies again and again: RayWarden repairs this often at once, and
# then not more often than every ten seconds.
_WRITES_AT_ONCE = 10
_LONGEST_WRITE_PAUSE_SECONDS = 10.0
# A cluster that was written this long ago counts as quiet.
_QUIET_SECONDS = 60.0


class DirtyClusters:
    """A queue without duplicates, which holds back clusters that fail or change too often."""

    def __init__(self) -> None:
        self._ready: dict[ClusterKey, None] = {}
        self._running: set[ClusterKey] = set()
        # Those that were added while they were examined.
        self._again: set[ClusterKey] = set()
        self._paused: set[ClusterKey] = set()
        # How often in a row a cluster failed or was written, and when it was last.
        self._failures: dict[ClusterKey, int] = {}
        self._writes: dict[ClusterKey, tuple[int, float]] = {}
        self._added = asyncio.Event()

    def __len__(self) -> int:
        """The number of clusters that are ready to be examined, or are being examined."""
        return len(self._ready) + len(self._running)

    def add(self, key: ClusterKey) -> None:
        """Examine a cluster; one that pauses is examined after its pause anyway."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._paused:
            self._ready[key] = None
            self._added.set()

    def add_later(self, key: ClusterKey, seconds: float) -> None:
        """Examine a cluster also after some time."""
        asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def take(self) -> ClusterKey:
        """The next cluster; `unchanged`, `written` or `failed` must follow."""
        while not self._ready:
            self._added.clear()
            await self._added.wait()
        key = next(iter(self._ready))
        del self._ready[key]
        self._running.add(key)
        return key

    def unchanged(self, key: ClusterKey) -> None:
        """Nothing had to be written."""
        self._failures.pop(key, None)
        self._end(key, 0)

    def written(self, key: ClusterKey) -> None:
        """The policies were written."""
        self._failures.pop(key, None)
        now = asyncio.get_running_loop().time()
        self._forget_quiet(now)
        # Taken out and put in again: the one written least recently stays first.
        count, _ = self._writes.pop(key, (0, now))
        count += 1
        self._writes[key] = (count, now)
        excess = count - _WRITES_AT_ONCE
        self._end(key, _pause(excess, _LONGEST_WRITE_PAUSE_SECONDS) if excess > 0 else 0)

    def failed(self, key: ClusterKey) -> None:
        """Something could not be written."""
        self._failures[key] = self._failures.get(key, 0) + 1
        self._again.add(key)
        self._end(key, _pause(self._failures[key], _LONGEST_ERROR_PAUSE_SECONDS))

    def _forget_quiet(self, now: float) -> None:
        while self._writes:
            oldest = next(iter(self._writes))
            if now - self._writes[oldest][1] < _QUIET_SECONDS:
                return
            del self._writes[oldest]

    def _end(self, key: ClusterKey, pause: float) -> None:
        self._running.discard(key)
        if pause:
            self._paused.add(key)
            asyncio.get_running_loop().call_later(pause, self._resume, key)
        elif key in self._again:
            self._again.discard(key)
            self.add(key)

    def _resume(self, key: ClusterKey) -> None:
        self._paused.discard(key)
        self._again.discard(key)
        self.add(key)


def _pause(attempt: int, longest: float) -> float:
    return float(min(longest, _FIRST_PAUSE_SECONDS * 2 ** min(attempt - 1, 20)))
