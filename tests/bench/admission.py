"""How fast is admission?"""

import base64
import itertools
import time
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import jsonpatch
import orjson

from policies.config import Policy
from policies.model import Signer
from tests.bench import load
from tests.live import Live, serving
from webhook.manifest_neighbourhoods import ManifestNeighbourhoods
from webhook.review import Reviewer
from webhook.wire import parse

_FIXTURES = Path(__file__).parent.parent / "fixtures" / "bench"
_REQUESTS = 4000
_WARM_UP = 400
_ROUNDS = 7


def main() -> None:
    """Print where the time goes, and what a server process does with it."""
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
    policy = Policy.parse(None)
    reviewer = Reviewer(lambda: policy, lambda: signer, ManifestNeighbourhoods(()), lambda: date(2026, 11, 20))
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
        answers = load.over_kept_connections(
            live, live.admission_port, itertools.repeat(_request("/mutate", body)), 1, 1
        )
        review = orjson.loads(body)
        operations = orjson.loads(base64.b64decode(orjson.loads(answers.last)["response"]["patch"]))
        review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
        for path, sent in (("/mutate", body), ("/validate", orjson.dumps(review))):
            requests = itertools.repeat(_request(path, sent))
            for connections in (1, 8):
                rounds = (_WARM_UP, _REQUESTS, _REQUESTS, _REQUESTS)
                ask = partial(load.over_kept_connections, live, live.admission_port, requests, connections)
                _, *runs = [ask(number) for number in rounds]
                print(f"{path[1:] + ' ' + name:<28}{connections:>8}{load.figures(runs)}")


def _request(path: str, body: bytes) -> bytes:
    return load.request(f"{path}?timeout=10s", {}, body)
