"""What is held of strangers' requests, and how long others wait for it."""

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

from policies.size import MOST_VALUES
from tests.policies.test_size import with_variables
from tests.support import factory
from tests.support.live_server import Live, metric, raw, read_all, serving
from webhook.admission.wire import parse
from webhook.server.request_body import FREE_BYTES, Bodies

POST = b"POST /validate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
MIB = 1024 * 1024
HUNG_UP: Any = {"type": "http.disconnect"}
SILENT = None


def request(*messages: Any, sent: asyncio.Event | None = None, prompt: bool = False) -> Request:
    """A request whose body comes in these chunks; SILENT: and then no more; `prompt`: with nobody in between."""
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


async def outcome(bodies: Bodies, asked: Request) -> int:
    """The status a body ends with; 200 when it could be read."""
    try:
        async with bodies.read(asked) as body:
            assert set(body) <= {ord("x")}
    except HTTPException as error:
        return error.status_code
    except ClientDisconnect:
        return 400
    return 200


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 20))


async def is_all_there(bodies: Bodies, most: int) -> bool:
    """Whether one body may have all of the budget."""
    return await outcome(bodies, request(b"x" * most)) == 200


def test_who_has_been_sending_longest_makes_room() -> None:
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
        assert await is_all_there(bodies, MIB)

    run(main())


def test_who_is_told_to_come_again_is_told_when() -> None:
    async def main() -> None:
        bodies, sent = Bodies(MIB, 10, MIB), asyncio.Event()
        first = asyncio.create_task(_entered(bodies, request(b"x" * MIB, SILENT, sent=sent)))
        await sent.wait()
        assert await is_all_there(bodies, MIB)
        with pytest.raises(HTTPException) as refused:
            await first
        assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "1"})

    run(main())


async def _entered(bodies: Bodies, asked: Request) -> None:
    async with bodies.read(asked):
        raise AssertionError("this was not whole")


def test_who_is_late_and_has_not_heard_of_it_makes_room_too() -> None:
    async def main() -> None:
        bodies, sent = Bodies(MIB, 0.05, MIB), asyncio.Event()
        late = asyncio.create_task(outcome(bodies, request(b"x" * MIB, SILENT, sent=sent)))
        await sent.wait()
        time.sleep(0.1)
        # One step for the time limit to be noticed; in the next, we are before the one it is about.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert await outcome(bodies, request(b"x" * MIB, prompt=True)) == 200
        assert await late == 503

    run(main())


def test_what_is_whole_stays_and_newcomers_are_told() -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 10, MIB)
        async with bodies.read(request(b"x" * MIB)) as whole:
            assert await outcome(bodies, request(b"x" * MIB)) == 503
            assert await outcome(bodies, request(b"x" * FREE_BYTES)) == 200
            assert len(whole) == MIB
        assert await is_all_there(bodies, MIB)

    run(main())


END = {"hung up": HUNG_UP, "too much": b"x" * MIB, "silent": SILENT, "none": b""}


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([1000, FREE_BYTES, MIB // 2]), max_size=4),
            st.sampled_from(sorted(END)),
        ),
        max_size=12,
    )
)
def test_however_they_end_all_of_it_is_there_again(many: list[tuple[Sequence[int], str]]) -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 0.02, MIB)
        asked = [request(*(b"x" * size for size in sizes), END[end]) for sizes, end in many]
        ended = await asyncio.gather(*(outcome(bodies, one) for one in asked))
        assert set(ended) <= {200, 400, 408, 413, 503}
        for status, (sizes, end) in zip(ended, many, strict=True):
            if sum(sizes) <= FREE_BYTES and end == "none":
                # 408: on a busy machine 20 ms may be over before anybody looks.
                assert status in (200, 408), "small ones never make room for large ones"
        assert await is_all_there(bodies, MIB)

    run(main())


def test_a_decision_that_breaks_gives_its_share_back() -> None:
    async def main() -> None:
        bodies = Bodies(MIB, 10, MIB)
        with suppress(ZeroDivisionError):
            async with bodies.read(request(b"x" * MIB)):
                raise ZeroDivisionError
        assert await is_all_there(bodies, MIB)

    run(main())


def test_small_ones_come_between_large_ones() -> None:
    async def main() -> None:
        bodies, waited = Bodies(MIB, 10, 64 * MIB), []

        async def large() -> None:
            async with bodies.read(request(b"x" * MIB)):
                time.sleep(0.02)  # the one thread is busy

        async def small() -> AsyncIterator[float]:
            while not crowd.done():
                started = time.monotonic()
                assert await outcome(bodies, request(b"x")) == 200
                yield time.monotonic() - started

        crowd = asyncio.gather(*(large() for _ in range(30)))
        waited = [seconds async for seconds in small()]
        assert len(waited) > 100, "in every pause there is time for many"
        assert sorted(waited)[-1] < 0.3, (
            "none waits for all large ones, which take more than half a second"
        )

    run(main())


def test_a_review_of_the_largest_object_that_is_judged_is_read() -> None:
    document = with_variables(MOST_VALUES // 4)
    fields: factory.Object = {f"f:{number}": {} for number in range(MOST_VALUES)}
    document["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": fields}]
    body = orjson.dumps(factory.review(document, "UPDATE", document))
    assert len(body) > 2 * MIB
    assert parse(body).operation == "UPDATE"


@pytest.fixture(scope="module")
def live() -> Iterator[Live]:
    with serving(
        {"RAYWARDEN_MAX_BODY_BYTES": str(MIB), "RAYWARDEN_MAX_LARGE_BODIES_BYTES": str(MIB)}
    ) as running:
        yield running


def test_over_a_socket_slow_large_ones_keep_nobody_out(live: Live) -> None:
    large, small = b" " * MIB, orjson.dumps(factory.review(factory.ray_cluster()))
    counted = 'raywarden_rejected_requests_total{status="503"}'
    before = metric(live, counted)
    with ExitStack() as held, httpx.Client(base_url=live.admission, verify=live.trust) as client:
        slow = [held.enter_context(raw(live)) for _ in range(3)]
        for connection in slow:
            connection.sendall(POST + b"Content-Length: %d\r\n\r\n" % MIB + large[1:])
        kind = {"Content-Type": "application/json"}
        assert client.post("/validate", content=small, headers=kind).status_code == 200
        padded = small + b" " * (MIB - len(small))
        assert client.post("/validate", content=padded, headers=kind).status_code == 200
        answer = read_all(slow[0])
    assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1\r\n" in answer.lower()
    assert b"application/problem+json" in answer
    assert metric(live, counted) - before >= 3


def test_sixty_four_hostile_bodies_at_once_take_bounded_memory() -> None:
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
        # Without a budget and a bound for what is parsed, this was 900 MiB.
        assert peak(running) < 500
    assert b"HTTP/1.1 400" in answers
    assert answers <= {b"", b"HTTP/1.1 400", b"HTTP/1.1 408", b"HTTP/1.1 503"}


def peak(live: Live) -> int:
    """The most resident memory the server has had, in MiB."""
    with open(f"/proc/{live.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) // 1024
