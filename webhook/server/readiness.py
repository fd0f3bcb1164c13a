"""Whether this replica should be sent requests."""

import asyncio
from collections.abc import Callable


class Readiness:
    """Ready when everything expected is met; unready again, for good, when it drains.

    `changed` is told the state whenever it may have changed.
    """

    def __init__(self, changed: Callable[[bool], None]) -> None:
        self._changed = changed
        self._missing: dict[str, None] = {}
        self._draining = False
        self._event = asyncio.Event()
        self.expect("open ports")

    @property
    def ready(self) -> bool:
        return not self._missing and not self._draining

    @property
    def lacks(self) -> tuple[str, ...]:
        """What is still missing, for people to read."""
        return ("draining",) if self._draining else tuple(self._missing)

    def expect(self, *whats: str) -> None:
        """Not ready before these are met, too."""
        self._missing.update(dict.fromkeys(whats))
        self._changed(self.ready)

    def met(self, what: str) -> None:
        """What was expected is there. It need not be met twice: what goes wrong later does not make us useless."""
        if self._missing.pop(what, True) is None:
            self._changed(self.ready)
            if self.ready:
                self._event.set()

    def drain(self) -> None:
        """No more requests, please."""
        self._draining = True
        self._changed(False)

    async def wait(self) -> None:
        """Until it is ready for the first time."""
        await self._event.wait()
