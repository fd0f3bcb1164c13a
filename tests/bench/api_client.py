"""A light client of a real API server: kept connections, with one request at a time on each."""

import asyncio
import json
import re
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import httptools

from policies.ray.pod import ENROLL_CONTAINER
from tests.apiserver.control_plane import ControlPlane

_CREATED = 201
_ENROLLS = ENROLL_CONTAINER.encode()
# KubeRay's operator comes again as soon, and then less often.
_RETRY_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered, and after how many seconds."""

    status: int
    body: bytes
    seconds: float


@dataclass
class Outcome:
    """The result of a run: the seconds that each create took, and what went wrong."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    unmutated: int = 0
    # CPU time, in seconds.
    of_api_server: float = 0.0
    of_replicas: float = 0.0

    @property
    def rate(self) -> float:
        return len(self.took) / self.seconds

    def add(self, other: "Outcome") -> None:
        """Count another run of the same kind as a part of this one."""
        self.seconds += other.seconds
        self.took += other.took
        self.refused += other.refused
        self.unmutated += other.unmutated
        self.of_api_server += other.of_api_server
        self.of_replicas += other.of_replicas


class Connection(asyncio.Protocol):
    """A connection to the API server."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self._sent = 0.0
        self._answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    async def send(self, request: bytes) -> Answer:
        """Send a request and wait for the response."""
        self._answer = asyncio.get_running_loop().create_future()
        self._sent = time.perf_counter()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The transports of uvloop behave like those of asyncio, but do not derive from them.
        self._transport = cast(asyncio.WriteTransport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the API server hung up"))

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._body = bytearray()

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        seconds = time.perf_counter() - self._sent
        status = self._parser.get_status_code()
        self._answer.set_result(Answer(status, bytes(self._body), seconds))


async def connect(control_plane: ControlPlane, number: int) -> list[Connection]:
    """This many connections, as the admin."""
    trust = ssl.create_default_context(cafile=control_plane.ca)
    folder = control_plane.folder
    trust.load_cert_chain(folder / "admin.crt", folder / "admin.key")
    loop = asyncio.get_running_loop()
    connections = []
    for _ in range(number):
        _, connection = await loop.create_connection(
            Connection, "127.0.0.1", control_plane.port, ssl=trust
        )
        connections.append(connection)
    return connections


async def create(
    connections: Sequence[Connection], requests: Iterator[bytes], expects_mutation: bool
) -> Outcome:
    """Send all requests, as many at once as there are connections.

    What is refused is sent again, as KubeRay's operator does.
    """
    outcome = Outcome()

    async def call(connection: Connection) -> None:
        for request in requests:
            await _create(connection, request, outcome, expects_mutation)

    started = time.perf_counter()
    await asyncio.gather(*map(call, connections))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def create_paced(
    connections: Sequence[Connection],
    requests: Iterator[bytes],
    expects_mutation: bool,
    a_second: float,
) -> Outcome:
    """Send a request every so often, whether or not the earlier ones were answered.

    The time of each counts from the moment when it was due.
    """
    outcome = Outcome()
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for connection in connections:
        idle.put_nowait(connection)
    started = time.perf_counter()

    async def call(request: bytes, due: float) -> None:
        connection = await idle.get()
        late = time.perf_counter() - due
        await _create(connection, request, outcome, expects_mutation, late)
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for index, request in enumerate(requests):
            due = started + index / a_second
            await asyncio.sleep(due - time.perf_counter())
            tasks.create_task(call(request, due))
    outcome.seconds = time.perf_counter() - started
    return outcome


async def _create(
    connection: Connection,
    request: bytes,
    outcome: Outcome,
    expects_mutation: bool,
    late: float = 0.0,
) -> None:
    answer = await connection.send(request)
    while answer.status != _CREATED:
        outcome.refused.append(_message(answer))
        await asyncio.sleep(_RETRY_SECONDS)
        answer = await connection.send(request)
    outcome.took.append(answer.seconds + late)
    if expects_mutation and _ENROLLS not in answer.body:
        outcome.unmutated += 1


def _message(answer: Answer) -> str:
    """Why the API server refused; its first line, without the name that it gave the pod."""
    message = str(json.loads(answer.body).get("message", ""))
    first, *_ = message.splitlines() or [""]
    anonymous = re.sub('pods "[^"]*"', "pods", first)
    return f"{answer.status} {anonymous[:200]}"
