"""How fast is admission? `make bench` measures a real server process: TLS, keep-alive connections, one client process.

Figures of one run on one machine: compare them with each other and with those of the same run, not with other days'.
"""

import asyncio
import base64
import statistics
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import cast

import jsonpatch
import orjson
import uvloop

from policies.config import Policy
from policies.model import Signer
from tests.live import Live, serving
from webhook.namespaces import NamespaceManifests
from webhook.review import Reviewer
from webhook.wire import parse

_FIXTURES = Path(__file__).parent / "fixtures" / "bench"
_REQUESTS = 4000
_WARM_UP = 400
_ROUNDS = 7


def main() -> None:
    """Print the two tables."""
    bodies = {file.stem: file.read_bytes() for file in sorted(_FIXTURES.glob("*.json"))}
    _print_stages(bodies)
    with serving() as live:
        _print_load(live, bodies)


def _print_stages(bodies: dict[str, bytes]) -> None:
    print(f"{'microseconds, best of ' + str(_ROUNDS):<28}{'bytes':>8}{'parse':>8}{'decide':>8}{'encode':>8}")
    ca = "-----BEGIN CERTIFICATE-----\n" + "A" * 700 + "\n-----END CERTIFICATE-----\n"
    signer = Signer(
        "raywarden:0", "https://raywarden-enroll.raywarden-system.svc:8444", ca, "raywarden-system", 8444, "0"
    )
    reviewer = Reviewer(Policy.parse(None), signer, NamespaceManifests(()), lambda: date(2026, 11, 20))
    for name, body in bodies.items():
        for path, review in (("mutate", reviewer.mutate), ("validate", reviewer.validate)):
            sent = body if path == "mutate" else _mutated(body, reviewer)
            request = parse(sent)
            decision = review(request)
            stages = (_best(partial(parse, sent)), _best(partial(review, request)), _best(decision.response.encode))
            print(f"{path + ' ' + name:<28}{len(sent):>8}" + "".join(f"{stage * 1e6:>8.0f}" for stage in stages))


def _best(work: Callable[[], object]) -> float:
    def once() -> float:
        started = time.perf_counter()
        for _ in range(100):
            work()
        return (time.perf_counter() - started) / 100

    return min(once() for _ in range(_ROUNDS))


def _mutated(body: bytes, reviewer: Reviewer) -> bytes:
    """The review as the API server sends it to `/validate`: after `/mutate` and the patch."""
    review = orjson.loads(body)
    review["request"]["object"] = reviewer.mutated(parse(body)).document
    return orjson.dumps(review)


def _print_load(live: Live, bodies: dict[str, bytes]) -> None:
    print(f"\n{'over TLS, one server process':<28}{'conns':>8}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}")
    for name, body in bodies.items():
        answer = uvloop.run(_load(live, "/mutate", body, 1, 1))[1]
        review = orjson.loads(body)
        operations = orjson.loads(base64.b64decode(orjson.loads(answer)["response"]["patch"]))
        review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
        for path, sent in (("/mutate", body), ("/validate", orjson.dumps(review))):
            for connections in (1, 8):
                uvloop.run(_load(live, path, sent, connections, _WARM_UP))
                rates, latencies = [], []
                for _ in range(3):
                    started = time.perf_counter()
                    took, _answer = uvloop.run(_load(live, path, sent, connections, _REQUESTS))
                    rates.append(_REQUESTS / (time.perf_counter() - started))
                    latencies += took
                cuts = statistics.quantiles(latencies, n=100)
                figures = f"{statistics.median(rates):>8.0f}{cuts[49] * 1e3:>8.2f}{cuts[98] * 1e3:>8.2f}"
                print(f"{path[1:] + ' ' + name:<28}{connections:>8}{figures}")


async def _load(live: Live, path: str, body: bytes, connections: int, requests: int) -> tuple[list[float], bytes]:
    """Send `requests` requests over `connections` connections; gives each one's seconds, and the last answer."""
    head = f"POST {path}?timeout=10s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    loop, callers = asyncio.get_running_loop(), []
    for _ in range(connections):
        port, trust = live.admission_port, live.trust
        _, caller = await loop.create_connection(
            partial(_Caller, request, requests // connections), "localhost", port, ssl=trust
        )
        callers.append(caller)
    for caller in callers:
        caller.begin()
    await asyncio.gather(*(caller.done for caller in callers))
    return [seconds for caller in callers for seconds in caller.took], callers[-1].answer


class _Caller(asyncio.Protocol):
    """One keep-alive connection that sends the same request again as soon as the answer is there."""

    def __init__(self, request: bytes, count: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.took: list[float] = []
        self.answer = b""
        self._request = request
        self._left = count
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do everything asyncio's do, but do not derive from them.
        self._transport = cast(asyncio.WriteTransport, transport)

    def begin(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found or len(body) < int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]):
            return
        self.took.append(time.perf_counter() - self._sent)
        self._received, self.answer = b"", body
        self._left -= 1
        if not head.startswith(b"HTTP/1.1 200"):
            self.done.set_exception(AssertionError(head.decode()))
        elif self._left:
            self.begin()
        else:
            self._transport.close()
            self.done.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))


if __name__ == "__main__":
    main()
