"""Reads request bodies from untrusted clients within limits of size, time, memory and work."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.exceptions import HTTPException
from starlette.requests import Request

# Twice the size of the largest ordinary review: these never compete with large bodies for memory.
FREE_BYTES = 128 * 1024
# Short: the API server waits seconds for an answer, and a turn takes tenths of a second.
_RETRY_SECONDS = 1


class _Body:
    """What was received of one body so far, and how much of it counts against the budget."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.held = 0
        self.deadline: asyncio.Timeout
        self.is_cut_off = False

    def cut_off(self) -> None:
        """Drop the content, and end the waiting for more."""
        self.content.clear()
        self.is_cut_off = True
        if not self.deadline.expired():
            self.deadline.reschedule(asyncio.get_running_loop().time())


class Bodies:
    """The request bodies of one port.

    Each body is limited in size and time. What exceeds 128 KiB in each body is charged to one
    budget of memory until the request is answered. The charge is for bytes received, not for the
    declared length, which costs a sender nothing.

    When the budget is used up, the body that has been arriving longest is cut off with 503. A whole
    review from the API server arrives within milliseconds, while a slow or silent sender is cut off
    first: to keep others out, an attacker would have to send large bodies again and again, faster
    than the API server sends one review. Complete bodies are never cut off.

    Parsing and reviewing run without interruption on the only thread, and take tenths of a second
    for a body made for that purpose. So large bodies take turns, and each turn is followed by a
    pause of the same length for small bodies: an ordinary review waits for one turn at most, no
    matter how many large bodies arrive. A large body does wait for all large bodies before it;
    a NetworkPolicy should restrict who can connect.
    """

    def __init__(self, max_bytes: int, seconds: float, max_large_bytes: int) -> None:
        """The limits of each body, and the budget; the budget always has room for one body."""
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._budget_left = max(max_large_bytes, max_bytes)
        # The incomplete bodies that are charged to the budget, the oldest first.
        self._incomplete: dict[_Body, None] = {}
        self._turn = asyncio.Lock()
        self._next_turn = 0.0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytearray]:
        """The complete body of a JSON request, held until the block ends; raises HTTPException."""
        _check_type(request)
        self._check_declared_length(request)
        body = _Body()
        try:
            await self._receive(request, body)
            if not body.held:
                yield body.content
                return
            async with self._one_at_a_time():
                yield body.content
        finally:
            self._release(body)

    @asynccontextmanager
    async def _one_at_a_time(self) -> AsyncIterator[None]:
        """The turn of one large body, followed by an equally long pause for small ones."""
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
            if body.is_cut_off:
                raise _busy() from None
            raise HTTPException(
                408, f"the body took longer than {self._seconds:g} seconds"
            ) from None
        self._incomplete.pop(body, None)

    def _add(self, body: _Body, chunk: bytes) -> None:
        body.content += chunk
        if len(body.content) > self._max_bytes:
            raise self._too_large()
        if body.is_cut_off:
            raise _busy()
        charge = len(body.content) - FREE_BYTES - body.held
        if charge > 0:
            self._incomplete.setdefault(body)
            while charge > self._budget_left:
                self._make_room(body)
            self._budget_left -= charge
            body.held += charge

    def _make_room(self, body: _Body) -> None:
        """Cut off the oldest incomplete body; raises HTTPException if that is `body` itself."""
        oldest = next(iter(self._incomplete))
        if oldest is body:
            raise _busy()
        oldest.cut_off()
        self._release(oldest)

    def _release(self, body: _Body) -> None:
        self._incomplete.pop(body, None)
        self._budget_left += body.held
        body.held = 0

    def _check_declared_length(self, request: Request) -> None:
        """Refuse a body that is declared too large before it is sent.

        The declared length is used for nothing else, because a client can declare anything.
        """
        declared = request.headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the limit is {self._max_bytes} bytes")


def _check_type(request: Request) -> None:
    media_type, _, _ = request.headers.get("content-type", "").partition(";")
    if media_type.strip().lower() != "application/json":
        raise HTTPException(415, "send application/json")


def _busy() -> HTTPException:
    # With this header the API server sends the request again, up to its own deadline.
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return HTTPException(503, "there are too many large requests: send it again", headers)
