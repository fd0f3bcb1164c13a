"""Reads request bodies from untrusted clients within limits of size, time, memory and work."""

import asyncio

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from webhook.server.protocol import BODY_HAS_ARRIVED

# Twice the size of the largest ordinary review: these never compete with large bodies for memory.
FREE_BYTES = 128 * 1024
# Short: the API server waits seconds for an answer, and a turn takes tenths of a second.
_RETRY_SECONDS = 1


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
        self.seconds = seconds
        self._budget_left = max(max_large_bytes, max_bytes)
        # The incomplete bodies that are charged to the budget, the oldest first.
        self._incomplete: dict[_Body, None] = {}
        self._turn = asyncio.Lock()
        self._turn_began = self._next_turn = 0.0

    def read(self, request: Request) -> "_Body":
        """A block that holds the complete body of a JSON request; it raises HTTPException."""
        return _Body(self, request)

    async def take_turn(self) -> None:
        """Wait for the turn of one large body."""
        await self._turn.acquire()
        try:
            await asyncio.sleep(self._next_turn - _now())
        except BaseException:
            self._turn.release()
            raise
        self._turn_began = _now()

    def end_turn(self) -> None:
        """End the turn of a large body; an equally long pause for small ones follows."""
        self._next_turn = 2 * _now() - self._turn_began
        self._turn.release()

    def charge(self, body: "_Body") -> None:
        """Charge what a body has received to the budget; raises HTTPException."""
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

    def _make_room(self, body: "_Body") -> None:
        """Cut off the oldest incomplete body; raises HTTPException if that is `body` itself."""
        oldest = next(iter(self._incomplete))
        if oldest is body:
            raise _busy()
        oldest.cut_off()
        self.release(oldest)

    def completed(self, body: "_Body") -> None:
        """Do not cut off this body any more."""
        self._incomplete.pop(body, None)

    def release(self, body: "_Body") -> None:
        """Give back what a body holds of the budget."""
        self.completed(body)
        self._budget_left += body.held
        body.held = 0

    def check_headers(self, request: Request) -> None:
        """Refuse a body of another type, and one that is declared too large, before it is sent.

        The declared length is used for nothing else, because a client can declare anything.
        """
        headers = dict(request.scope["headers"])
        media_type, _, _ = headers.get(b"content-type", b"").partition(b";")
        if media_type.strip().lower() != b"application/json":
            raise HTTPException(415, "send application/json")
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the limit is {self._max_bytes} bytes")


class _Body:
    """What was received of one body so far, and how much of it counts against the budget."""

    def __init__(self, bodies: Bodies, request: Request) -> None:
        self.content: bytes | bytearray = b""
        self.held = 0
        self.is_cut_off = False
        self._bodies = bodies
        self._request = request
        self._has_turn = False
        self._deadline: asyncio.Timeout

    async def __aenter__(self) -> bytes | bytearray:
        try:
            self._bodies.check_headers(self._request)
            if BODY_HAS_ARRIVED in self._request.scope:
                # Almost always: a deadline costs more than to receive.
                self.content, _ = await self._next_chunk()
                self._bodies.charge(self)
            else:
                await self._receive()
            self._bodies.completed(self)
            if self.held:
                await self._bodies.take_turn()
                self._has_turn = True
        except BaseException:
            self._bodies.release(self)
            raise
        return self.content

    async def __aexit__(self, *_: object) -> None:
        if self._has_turn:
            self._bodies.end_turn()
        if self.held:
            self._bodies.release(self)

    def cut_off(self) -> None:
        """Drop the content, and end the waiting for more."""
        self.content = b""
        self.is_cut_off = True
        if not self._deadline.expired():
            self._deadline.reschedule(_now())

    async def _receive(self) -> None:
        self.content = bytearray()
        try:
            async with asyncio.timeout(self._bodies.seconds) as self._deadline:
                has_more = True
                while has_more:
                    chunk, has_more = await self._next_chunk()
                    self.content += chunk
                    self._bodies.charge(self)
        except TimeoutError:
            if self.is_cut_off:
                raise _busy() from None
            raise HTTPException(
                408, f"the body took longer than {self._bodies.seconds:g} seconds"
            ) from None

    async def _next_chunk(self) -> tuple[bytes, bool]:
        """A part of the body, and whether more follows; raises ClientDisconnect."""
        message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        return message.get("body", b""), message.get("more_body", False)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _busy() -> HTTPException:
    # With this header the API server sends the request again, up to its own deadline.
    headers = {"Retry-After": str(_RETRY_SECONDS)}
    return HTTPException(503, "there are too many large requests: send it again", headers)
