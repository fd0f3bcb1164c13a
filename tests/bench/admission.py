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
from tests.support import factory, related_objects
from tests.support.live_server import RunningServer, serving
from tests.support.paths import FIXTURES
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import parse
from webhook.manifests.state import ManifestNamespaces

_FIXTURES = FIXTURES / "bench"
# Some seconds for each figure: enough for a stable p99.
_REQUESTS = 4000
_WARM_UP = 400
_ROUNDS = 7


def main() -> None:
    """Print the time of each stage of a review, its growth, and the throughput of a server."""
    bodies = {file.stem: file.read_bytes() for file in sorted(_FIXTURES.glob("*.json"))}
    _print_stages(bodies)
    _print_growth()
    with serving() as server:
        _print_load(server, bodies)


def _print_stages(bodies: dict[str, bytes]) -> None:
    title = f"microseconds, best of {_ROUNDS}"
    print(f"{title:<28}{'bytes':>8}{'parse':>8}{'decide':>8}{'encode':>8}")
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
            stages = (
                _best(partial(parse, sent)),
                _best(partial(review, request)),
                _best(decision.response.encode),
            )
            figures = "".join(f"{stage * 1e6:>8.0f}" for stage in stages)
            print(f"{path + ' ' + name:<28}{len(sent):>8}{figures}")


def _print_growth() -> None:
    """Print whether validation, with all rules enforced, grows faster than the object.

    Also print whether it grows with the number of objects in the cluster.
    """
    policy = {"profiles": {"enforce": "restricted"}}
    print(f"\n{'validate, microseconds':<28}{'1':>8}{'10':>8}{'100':>8}{'each':>8}")
    for title, make in (
        ("containers of a pod", _containers),
        ("worker groups of a cluster", _groups),
    ):
        figures = [_validated(factory.reviewer(policy), make(number)) for number in (1, 10, 100)]
        each = (figures[2] - figures[1]) / 90
        print(f"{title:<28}" + "".join(f"{figure * 1e6:>8.0f}" for figure in (*figures, each)))
    print(f"\n{'validate, clusters known':<28}{'10':>8}{'10000':>8}{'of one namespace':>18}")
    reviewers = [
        factory.reviewer(policy, *_clusters(*sizes))
        for sizes in ((10, 10), (10_000, 10), (10_000, 10_000))
    ]
    subjects = {
        "RayCluster": factory.ray_cluster(),
        "Pod": factory.head_pod(),
        "Service": related_objects.service(),
    }
    for kind, document in subjects.items():
        few, many, crowded = (_validated(reviewer, document) * 1e6 for reviewer in reviewers)
        print(f"{kind + ', microseconds':<28}{few:>8.0f}{many:>8.0f}{crowded:>18.0f}")


def _validated(reviewer: Reviewer, document: factory.Object) -> float:
    """Seconds to validate an object that `reviewer` has mutated."""
    stored = dict(reviewer.mutated(factory.request(document)).document)
    return _best(partial(reviewer.validate, factory.request(stored)))


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


def _best(work: Callable[[], object]) -> float:
    """Seconds that `work` takes: the best of some rounds of 100 calls."""

    def once() -> float:
        started = time.perf_counter()
        for _ in range(100):
            work()
        return (time.perf_counter() - started) / 100

    return min(once() for _ in range(_ROUNDS))


def _mutated(body: bytes, reviewer: Reviewer) -> bytes:
    """The AdmissionReview that the API server sends to `/validate`, after the mutation."""
    review = orjson.loads(body)
    review["request"]["object"] = reviewer.mutated(parse(body)).document
    return orjson.dumps(review)


def _print_load(server: RunningServer, bodies: dict[str, bytes]) -> None:
    print(
        f"\n{'over TLS, one server process':<28}{'conns':>8}{'req/s':>8}{'p50 ms':>8}{'p99 ms':>8}"
    )
    for name, body in bodies.items():
        run = load.over_kept_connections(
            server, server.admission_port, itertools.repeat(_request("/mutate", body)), 1, 1
        )
        review = orjson.loads(body)
        patch = orjson.loads(run.last)["response"]["patch"]
        operations = orjson.loads(base64.b64decode(patch))
        review["request"]["object"] = jsonpatch.apply_patch(review["request"]["object"], operations)
        for path, sent in (("/mutate", body), ("/validate", orjson.dumps(review))):
            requests = itertools.repeat(_request(path, sent))
            for connections in (1, 8):
                send = partial(
                    load.over_kept_connections, server, server.admission_port, requests, connections
                )
                send(_WARM_UP)
                runs = [send(_REQUESTS) for _ in range(3)]
                print(f"{path[1:] + ' ' + name:<28}{connections:>8}{load.figures(runs)}")


def _request(path: str, body: bytes) -> bytes:
    return load.request(f"{path}?timeout=10s", {}, body)
