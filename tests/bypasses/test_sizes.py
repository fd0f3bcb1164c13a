"""Row 36: objects so large that a review would not finish in time."""

import time
from collections.abc import Iterator

import httpx
import orjson
import pytest

from tests.bypasses.admission import HEAD, RAY, refused
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, container, ray_cluster
from tests.support.live_server import RunningServer, raw, read_all, serving

# The API server waits ten seconds by default. The largest object it accepts has about 3 MB.
_SECONDS = 5


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with serving() as running:
        yield running


@pytest.mark.parametrize("path", ["/mutate", "/validate"])
def test_36_a_body_above_the_limit_is_rejected_unread(server: RunningServer, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with raw(server) as connection:
        connection.sendall(head.encode() + b"Content-Length: 9000000\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 413 ")


def test_36_a_body_below_the_limit_is_reviewed(server: RunningServer) -> None:
    padding = {
        "/metadata/annotations": {"padding": "x" * 1_400_000},
        f"{HEAD}/spec/hostNetwork": True,
    }
    body = orjson.dumps(factory.review(changed(ray_cluster(), padding)))
    with httpx.Client(base_url=server.admission, verify=server.trust, timeout=_SECONDS) as client:
        answer = client.post(
            "/validate", content=body, headers={"Content-Type": "application/json"}
        ).json()
    assert not answer["response"]["allowed"]
    assert "no-host-access" in answer["response"]["status"]["message"]
    assert len(orjson.dumps(answer)) < 100_000


def _large_objects(number: int) -> dict[str, Object]:
    """Objects with `number` parts that rules check and a violation; 10,000 are below 3 MB."""
    chain = [
        {"name": f"V{index}", "value": f"$(V{index + 1}) $(V{index + 2})"}
        for index in range(number)
    ]
    worker = ray_cluster()["spec"]["workerGroupSpecs"][0]
    blocks = [{"ipBlock": {"cidr": "10.0.0.0/8"}}] * number
    backend = {"backend": {"service": {"name": "demo-head-svc", "port": {"number": 8265}}}}
    return {
        "variables": changed(ray_cluster(), {f"{RAY}/env": chain, f"{RAY}/command": ["$(V0)"]}),
        "words": changed(
            ray_cluster(), {f"{RAY}/command": ["ray -a " * number, "ray" + " " * number]}
        ),
        "mounts": changed(
            ray_cluster(),
            {
                f"{RAY}/volumeMounts": [
                    {"name": f"m{i}", "mountPath": f"/etc/ray/tls/{i}"} for i in range(number)
                ]
            },
        ),
        "volumes": changed(
            ray_cluster(),
            {
                f"{HEAD}/spec/volumes": [
                    {"name": f"v{i}", "hostPath": {"path": "/"}} for i in range(number)
                ]
            },
        ),
        "parameters": changed(
            ray_cluster(),
            {
                "/spec/headGroupSpec/rayStartParams": {
                    f"p{index}": "$(x)" for index in range(number)
                }
            },
        ),
        "containers": changed(
            ray_cluster(),
            {f"{HEAD}/spec/containers": [container(f"c{index}") for index in range(number // 5)]},
        ),
        "groups": changed(
            ray_cluster(),
            {
                "/spec/workerGroupSpecs": [
                    {**worker, "groupName": f"g{index}"} for index in range(number // 10)
                ]
            },
        ),
        "peers": changed(
            related_objects.network_policy(), {"/spec/ingress": [{"from": blocks * 4}]}
        ),
        "paths": changed(
            related_objects.ingress(), {"/spec/rules/0/http/paths": [backend] * number * 2}
        ),
    }


def test_36_an_object_with_too_many_parts_is_refused_by_its_size() -> None:
    for part in ("groups", "containers"):
        assert refused(_large_objects(20_000)[part]) == {"size"}


@pytest.mark.parametrize("part", list(_large_objects(1)))
def test_36_the_rules_finish_in_time(part: str) -> None:
    document = _large_objects(10_000)[part]
    began = time.monotonic()
    refused(document)
    assert time.monotonic() - began < _SECONDS
