"""How much memory untrusted requests can occupy, and how long other requests wait for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from policies.cluster.size import MAX_VALUES
from tests.policies.cluster.test_size import with_variables
from tests.support import factory
from tests.support.live_server import RunningServer, metric, raw, read_all, serving
from webhook.admission.wire import parse
from webhook.server.request_body import FREE_BYTES, Bodies

POST = b"POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MIB = 1024 * 1024
DISCONNECT: Any = {"type": "http.disconnect"}
SILENT = None


def request(*messages: Any, sent: asyncio.Event | None = None, prompt: bool = False) -> Request:
    """A request whose body arrives in these chunks.

    At SILENT `sent` is set, and nothing more arrives. With `prompt` no other task runs between two
    chunks.
    """
    waiting = iter(messages)

    async def receive() -> Any:
        message = next(waiting, b"")
        if message is SILENT:
            if sent:
                sent.set()
            await asyncio.Event().wait()
        if not prompt:
            await asyncio.sleep(0)
        if isinstance(message, bytes):
            return {"type": "http.request", "body": message, "more_body": bool(message)}
        return message

    return Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)


async def outcome(bodies: Bodies, incoming: Request) -> int:
    """The status that reading a body ends with; 200 if it could be read."""
    try:
        async with bodies.read(incoming) as body:
            assert set(body) <= {ord("x")}
    except HTTPException as error:
        return error.status_code
    except ClientDisconnect:
        return 400
    return 200


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


async def budget_is_free(bodies: Bodies, budget: int) -> bool:
    """Whether one body can use the whole budget."""
    return await outcome(bodies, request(b"x" * budget)) == 200


def test_the_body_that_has_been_arriving_longest_is_cut_off() -> None:
    async def main() -> None:
        bodies, sent = Bodies(MIB, 10, MIB), [asyncio.Event(), asyncio.Event()]
        chunk = b"x" * (MIB // 2)
        slow = []
        for event in sent:
            slow.append(asyncio.create_task(outcome(bodies, request(chunk, SILENT, sent=event))))
            await event.wait()
        assert await outcome(bodies, request(chunk, chunk[:-FREE_BYTES])) == 200
        assert await asyncio.wait_for(asyncio.shield(slow[0]), 1) == 503
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert await budget_is_free(bodies, MIB)

    run(main())


def test_a_body_that_is_cut_off_gets_503_with_retry_after() -> None:
    async def main() -> None:
        bodies, sent = Bodies(MIB, 10, MIB), asyncio.Event()
        first = asyncio.create_task(_read_nothing(bodies, request(b"x" * MIB, SILENT, sent=sent)))
        await sent.wait()
        assert await budget_is_free(bodies, MIB)
        with pytest.raises(HTTPException) as refused:
            await first
        assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})

    run(main())


async def _read_nothing(bodies: Bodies, incoming: Request) -> None:
    async with bodies.read(incoming):
        raise AssertionError("the body is not complete")


def test_a_body_whose_deadline_has_just_passed_is_cut_off_too() -> None:
    async def main() -> None:
        bodies, sent = Bodies(MIB, 0.05, MIB), asyncio.Event()
        late = asyncio.create_task(outcome(bodies, request(b"x" * MIB, SILENT, sent=sent)))
        await sent.wait()
        time.sleep(0.1)
        # In the first step the event loop notices the timeout; in the second this task runs before
        # the one that timed out.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await outcome(bodies, request(b"x" * MIB, prompt=True)) == 200
        assert await late == 503

    run(main())


def test_complete_bodies_are_kept_and_new_ones_get_503() -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 10, MIB)
        async with bodies.read(request(b"x" * MIB)) as complete:
            assert await outcome(bodies, request(b"x" * MIB)) == 503
            assert await outcome(bodies, request(b"x" * FREE_BYTES)) == 200
            assert len(complete) == MIB
        assert await budget_is_free(bodies, MIB)

    run(main())


LAST_MESSAGES = {
    "disconnect": DISCONNECT,
    "too much": b"x" * MIB,
    "silent": SILENT,
    "none": b"",
}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([1000, FREE_BYTES, MIB // 2]), max_size=4),
            st.sampled_from(sorted(LAST_MESSAGES)),
        ),
        max_size=12,
    )
)
def test_the_budget_is_free_again_however_requests_end(
    many: list[tuple[Sequence[int], str]],
) -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 0.02, MIB)
        requests = []
        for sizes, end in many:
            chunks = [b"x" * size for size in sizes]
            requests.append(request(*chunks, LAST_MESSAGES[end]))
        statuses = await asyncio.gather(*(outcome(bodies, incoming) for incoming in requests))
        assert set(statuses) <= {200, 400, 408, 413, 503}
        for status, (sizes, end) in zip(statuses, many, strict=True):
            if sum(sizes) <= FREE_BYTES and end == "none":
                # 408: on a busy machine the limit of 20 ms may pass before the body is read.
                assert status in (200, 408), "a small body is never cut off for a large one"
        assert await budget_is_free(bodies, MIB)

    run(main())


def test_a_failing_review_releases_its_memory() -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 10, MIB)
        with suppress(ZeroDivisionError):
            async with bodies.read(request(b"x" * MIB)):
                raise ZeroDivisionError
        assert await budget_is_free(bodies, MIB)

    run(main())


def test_small_bodies_are_answered_between_large_ones() -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 10, 64 * MIB)

        async def large() -> None:
            async with bodies.read(request(b"x" * MIB)):
                time.sleep(0.02)  # keeps the only thread busy

        async def small() -> AsyncIterator[float]:
            while not crowd.done():
                started = time.monotonic()
                assert await outcome(bodies, request(b"x")) == 200
                yield time.monotonic() - started

        crowd = asyncio.gather(*(large() for _ in range(30)))
        waited = [seconds async for seconds in small()]
        assert len(waited) > 100, "every pause has time for many small bodies"
        # All large bodies together take more than half a second.
        assert max(waited) < 0.3, "a small body waited for more than one large body"

    run(main())


def test_a_review_of_the_largest_object_that_is_evaluated_is_parsed() -> None:
    document = with_variables(MAX_VALUES // 4)
    fields: factory.Object = {f"f:{number}": {} for number in range(MAX_VALUES)}
    document["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": fields}]
    body = orjson.dumps(factory.review(document, "UPDATE", document))
    assert len(body) > 2 * MIB
    assert parse(body).operation == "UPDATE"


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving(
        {"RAYWARDEN_MAX_BODY_BYTES": str(MIB), "RAYWARDEN_MAX_LARGE_BODIES_BYTES": str(MIB)}
    ) as running:
        yield running


def test_over_a_socket_slow_large_bodies_keep_no_other_client_out(server: RunningServer) -> None:
    large, small = b" " * MIB, orjson.dumps(factory.review(factory.ray_cluster()))
    busy_answers = 'raywarden_rejected_requests_total{status="503"}'
    before = metric(server, busy_answers)
    with (
        ExitStack() as held,
        httpx.Client(base_url=server.admission, verify=server.trust) as client,
    ):
        slow = [held.enter_context(raw(server)) for _ in range(3)]
        for connection in slow:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % MIB + large[1:])
        kind = {"Content-Type": "application/json"}
        assert client.post("/validate", content=small, headers=kind).status_code == 200
        padded = small + b" " * (MIB - len(small))
        assert client.post("/validate", content=padded, headers=kind).status_code == 200
        answer = read_all(slow[0])
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in answer.lower()
    assert b"application/problem+json" in answer
    assert metric(server, busy_answers) - before >= 3


def test_sixty_four_hostile_bodies_at_once_use_bounded_memory() -> None:
    groups = b"[" * 900 + b"]" * 900 + b","
    body = b"[" + groups * (8 * MIB // len(groups) - 1) + b"1]"

    def send() -> bytes:
        with raw(running) as connection, suppress(OSError):
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return connection.recv(12)
        return b""

    with serving() as running:
        with ThreadPoolExecutor(64) as senders:
            answers = set(senders.map(lambda _: send(), range(64)))
        # Without the budget and the limit of JSON tokens it was 900 MiB.
        assert peak(running) < 500
    assert b"HTTP/1.1 400" in answers
    assert answers <= {b"", b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 503"}


def peak(server: RunningServer) -> int:
    """The server's peak resident memory in MiB."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
