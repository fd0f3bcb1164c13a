"""Request bodies, from strangers: how much of them is held, for how long, and in which order they are looked at."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

# Twice what the largest ordinary review has: nothing that is held for others is in the way of these.
FREE_BYTES = 128 * 1024
_RETRY_SECONDS = 1


class _Body:
    """What has come of one body so far, and how much of it counts against the budget."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.held = 0
        self.deadline: asyncio.Timeout
        self.is_cut_off = False

    def cut_off(self) -> None:
        self.content.clear()
        self.is_cut_off = True
        if not self.deadline.expired():
            self.deadline.reschedule(asyncio.get_running_loop().time())


class Bodies:
    """The bodies of one port: each within limits of size and time, what is beyond 128 KiB of each within one budget.

    What has been received counts, not what was declared, until it is judged. Where the budget is used up, whoever has
    been sending longest gets 503: to hold it takes sending it all over again faster than the API server sends one
    review, which is there within milliseconds, while a slow or silent sender goes first. Those who are whole stay.

    Parsing and judging are one step of the one thread there is, and take tenths of a second for what is made for it. So
    large bodies take turns, and after each comes a pause as long as its turn was, for all that is small: an ordinary
    review waits for one turn, however many large bodies strangers send. Large ones do wait for all the large ones that
    came before: who may connect is for a NetworkPolicy to say.
    """

    def __init__(self, most_bytes: int, seconds: float, most_large_bytes: int) -> None:
        """The limits of each body, and the budget; for one whole body there is always room in it."""
        self._most_bytes = most_bytes
        self._seconds = seconds
        self._left = max(most_large_bytes, most_bytes)
        # Those that are not whole yet, the oldest first.
        self._coming: dict[_Body, None] = {}
        self._turn = asyncio.Lock()
        self._next_turn = 0.0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The request's body: JSON by its type, whole; it is counted until the block ends. Raises HTTPException."""
        _check_type(request)
        self._check_declared(request)
        body = _Body()
        try:
            await self._receive(request, body)
            if not body.held:
                yield body.content
                return
            async with self._one_at_a_time():
                yield body.content
        finally:
            self._forget(body)

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """The turn of one large body; after it, as long a pause for everybody else."""
        clock = asyncio.get_running_loop().time
        async with self._turn:
            await asyncio.sleep(self._next_turn - clock())
            started = clock()
            try:
                yield
            finally:
                self._next_turn = 2 * clock() - started

    async def _receive(self, request: Request, body: _Body) -> None:
        try:
            async with asyncio.timeout(self._seconds) as body.deadline:
                async for chunk in request.stream():
                    self._add(body, chunk)
        except TimeoutError:
            late = HTTPException(408, f"the body took longer than {self._seconds:g} seconds")
            raise (_busy() if body.is_cut_off else late) from None
        self._coming.pop(body, None)

    def _add(self, body: _Body, chunk: bytes) -> None:
        body.content += chunk
        if len(body.content) > self._most_bytes:
            raise self._too_large()
        if body.is_cut_off:
            raise _busy()
        if (more := len(body.content) - FREE_BYTES - body.held) > 0:
            self._coming.setdefault(body)
            while more > self._left:
                self._make_room(body)
            self._left -= more
            body.held += more

    def _make_room(self, body: _Body) -> None:
        oldest = next(iter(self._coming))
        if oldest is body:
            raise _busy()
        oldest.cut_off()
        self._forget(oldest)

    def _forget(self, body: _Body) -> None:
        self._coming.pop(body, None)
        self._left += body.held
        body.held = 0

    def _check_declared(self, request: Request) -> None:
        """Who announces too much hears of it before it is sent; what is announced counts for nothing else."""
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._most_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the limit is {self._most_bytes} bytes")


def _check_type(request: Request) -> None:
    if (
        request.headers.get("content-type", "").partition(";")[0].strip().lower()
        != "application/json"
    ):
        raise HTTPException(415, "send application/json")


def _busy() -> HTTPException:
    # The API server sends again, up to its own deadline, where it is told when.
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return HTTPException(503, "there are too many large requests now: send it again", headers)
