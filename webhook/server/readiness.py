"""Whether this replica should receive requests."""

import asyncio
from collections.abc import Callable


class Readiness:
    """Ready once every expected condition is met, and never again after it drains.

    `on_change` receives the new state whenever it may have changed.
    """

    def __init__(self, on_change: Callable[[bool], None]) -> None:
        self._on_change = on_change
        # A dict, because it keeps the order in which conditions were expected.
        self._missing: dict[str, None] = {}
        self._draining = False
        self._event = asyncio.Event()
        self.expect("open ports")

    @property
    def ready(self) -> bool:
        return not self._missing and not self._draining

    @property
    def missing(self) -> tuple[str, ...]:
        """The conditions that are not met, for people to read."""
        return ("draining",) if self._draining else tuple(self._missing)

    def expect(self, *conditions: str) -> None:
        """Do not become ready before these conditions are met, too."""
        self._missing.update(dict.fromkeys(conditions))
        self._on_change(self.ready)

    def met(self, condition: str) -> None:
        """Record that a condition is met, for good.

        A later failure does not make the replica unready: it goes on with its last good state,
        which is better than no replica at all.
        """
        if self._missing.pop(condition, True) is None:
            self._on_change(self.ready)
            if self.ready:
                self._event.set()

    def drain(self) -> None:
        """Become unready for good, because this replica is about to stop."""
        self._draining = True
        self._on_change(False)

    async def wait(self) -> None:
        """Wait until the replica is ready for the first time."""
        await self._event.wait()
