"""Measures how fast admission is."""

import base64
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial

import jsonpatch
import orjson

from policies.config import Policy
from policies.model import Signer
from tests.bench import load
from tests.bench.figures import Column, Table
from tests.support import factory, related_objects
from tests.support.live_server import RunningServer, serving
from tests.support.paths import FIXTURES
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import parse
from webhook.manifests.state import ManifestNamespaces

_FIXTURES = FIXTURES / "bench"
# Some seconds for each figure: enough for a stable p99.
_REQUESTS = 4000
_ROUNDS = 7
_ENFORCED = {"profiles": {"enforce": "restricted"}}
_RUNS = 3
# As most calls come: one by one, into cold caches.
_PACED_REQUESTS = 200
_PAUSE_SECONDS = 0.01


def main() -> None:
    """Measure each stage of a review, its growth, and the throughput of a server."""
    bodies = {file.stem: file.read_bytes() for file in sorted(_FIXTURES.glob("*.json"))}
    _measure_stages(bodies)
    _measure_growth()
    _measure_neighbors()
    with serving() as server:
        _measure_load(server, bodies)


def _measure_stages(bodies: dict[str, bytes]) -> None:
    table = Table("microseconds", Column("parse"), Column("decide"), Column("encode"))
    ca = "-----BEGIN CERTIFICATE-----\n" + "A" * 700 + "\n-----END CERTIFICATE-----\n"
    signer = Signer(
        "raywarden:0",
        "https://raywarden-enroll.raywarden-system.svc:8444",
        ca,
        "raywarden-system",
        8444,
        "0",
    )
    policy = Policy.parse(None)
    reviewer = Reviewer(
        lambda: policy, lambda: signer, ManifestNamespaces(()), lambda: date(2026, 11, 20)
    )
    for name, body in bodies.items():
        for path, review in (("mutate", reviewer.mutate), ("validate", reviewer.validate)):
            sent = body if path == "mutate" else _mutated(body, reviewer)
            request = parse(sent)
            decision = review(request)
            table.add(
                f"{path} {name}",
                _microseconds(partial(parse, sent)),
                _microseconds(partial(review, request)),
                _microseconds(decision.response.encode),
            )


def _measure_growth() -> None:
    """Measure whether validation, with all rules enforced, grows faster than the object."""
    columns = [Column(name) for name in ("1", "10", "100", "each")]
    table = Table("validate, microseconds", *columns)
    for title, make in (
        ("containers of a pod", _containers),
        ("worker groups of a cluster", _groups),
    ):
        rounds = [_validated(factory.reviewer(_ENFORCED), make(number)) for number in (1, 10, 100)]
        each = [(many - few) / 90 for few, many in zip(rounds[1], rounds[2], strict=True)]
        table.add(title, *rounds, each)


def _measure_neighbors() -> None:
    """Measure whether validation costs more with more objects in the cluster."""
    sizes = {"10": (10, 10), "10000": (10_000, 10), "in one": (10_000, 10_000)}
    reviewers = [factory.reviewer(_ENFORCED, *_clusters(*size)) for size in sizes.values()]
    subjects = {
        "RayCluster": factory.ray_cluster(),
        "Pod": factory.head_pod(),
        "Service": related_objects.service(),
    }
    table = Table("validate, microseconds, clusters known", *map(Column, sizes))
    for kind, document in subjects.items():
        table.add(kind, *(_validated(reviewer, document) for reviewer in reviewers))


def _validated(reviewer: Reviewer, document: factory.Object) -> list[float]:
    """Microseconds to validate an object that `reviewer` has mutated."""
    stored = dict(reviewer.mutated(factory.request(document)).document)
    return _microseconds(partial(reviewer.validate, factory.request(stored)))


def _containers(number: int) -> factory.Object:
    pod = factory.head_pod()
    pod["spec"]["containers"] = [
        factory.token_container("ray-head"),
        *(factory.token_container(f"c{i}") for i in range(1, number)),
    ]
    return pod


def _groups(number: int) -> factory.Object:
    group = factory.cluster_spec()["workerGroupSpecs"][0]
    return factory.ray_cluster(
        workerGroupSpecs=[{**group, "groupName": f"g{i}"} for i in range(number)]
    )


def _clusters(number: int, together: int) -> Iterator[factory.Object]:
    """RayClusters with head services and network policies, `together` in each namespace."""
    for index in range(number):
        name = f"c{index}"
        namespace = f"team-{index // together}" if index >= together else "team-a"
        metadata = {"name": name, "namespace": namespace}
        yield factory.changed(factory.ray_cluster(), {"/metadata": {**metadata, "uid": name}})
        selector = {"ray.io/cluster": name, "ray.io/node-type": "head"}
        yield factory.changed(
            related_objects.service(selector=selector),
            {"/metadata": {**metadata, "name": f"{name}-head-svc"}},
        )
        own = {"matchLabels": {"ray.io/cluster": name}}
        yield factory.changed(
            related_objects.network_policy(), {"/metadata": metadata, "/spec/podSelector": own}
        )


def _microseconds(work: Callable[[], object]) -> list[float]:
    """Microseconds that `work` takes, in some rounds of 100 calls each."""

    def once() -> float:
        started = time.perf_counter()
        for _ in range(100):
            work()
        return (time.perf_counter() - started) / 100 * 1e6

    return [once() for _ in range(_ROUNDS)]


def _mutated(body: bytes, reviewer: Reviewer) -> bytes:
    """The AdmissionReview that the API server sends to `/validate`, after the mutation."""
    review = orjson.loads(body)
    review["request"]["object"] = reviewer.mutated(parse(body)).document
    return orjson.dumps(review)


def _measure_load(server: RunningServer, bodies: dict[str, bytes]) -> None:
    columns = (
        Column("req/s", more_is_better=True),
        Column("p50 ms", 2),
        Column("p99 ms", 2),
        Column("CPU us"),
    )
    requests = dict(_requests(server, bodies))
    port = server.admission_port
    table = Table("over TLS, one server process", *columns)
    for title, sent in requests.items():
        for connections in (1, 8):
            send = partial(
                load.over_kept_connections, server, port, itertools.repeat(sent), connections
            )
            table.add(f"{title}, {connections} at once", *_sent(server, send, _REQUESTS))
    table = Table("over TLS, one call every 10 ms", *columns[1:])
    for title, sent in requests.items():
        send = partial(load.paced, server, port, itertools.repeat(sent), _PAUSE_SECONDS)
        _, *figures = _sent(server, send, _PACED_REQUESTS)
        table.add(title, *figures)


def _sent(
    server: RunningServer, send: Callable[[int], load.Run], count: int
) -> tuple[list[float], ...]:
    """The figures of `load.rounds`, and the CPU time of the server in microseconds a request."""
    send(count // 10)
    runs, microseconds = [], []
    for _ in range(_RUNS):
        before = load.cpu_seconds(server.process.pid)
        runs.append(send(count))
        used = load.cpu_seconds(server.process.pid) - before
        microseconds.append(used / count * 1e6)
    return *load.rounds(runs), microseconds


def _requests(server: RunningServer, bodies: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """The requests that the API server sends for each object: before and after the mutation."""
    for name, body in bodies.items():
        mutate = _request("/mutate", body)
        run = load.over_kept_connections(
            server, server.admission_port, itertools.repeat(mutate), 1, 1
        )
        review = orjson.loads(body)
        patch = orjson.loads(run.last)["response"]["patch"]
        operations = orjson.loads(base64.b64decode(patch))
        review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
        yield f"mutate {name}", mutate
        yield f"validate {name}", _request("/validate", orjson.dumps(review))


def _request(path: str, body: bytes) -> bytes:
    return load.request(f"{path}?timeout=10s", {}, body)
