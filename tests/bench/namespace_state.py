"""Measures whether the state of a namespace costs more in a cluster with more objects."""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.figures import Column, Table
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import following, free_port, kubeconfig_for, listening, talk
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive

_SIZES = (10, 10_000)
_CALLS = 20_000
_ROUNDS = 7
_TEAMS = 100
_KINDS = {
    "rayclusters": {
        "headGroupSpec": {"template": {}},
        "workerGroupSpecs": [{"groupName": "gpu", "template": {}}],
    },
    "services": {
        "type": "NodePort",
        "selector": {"ray.io/cluster": "c"},
        "ports": [{"port": 8265}],
    },
    "networkpolicies": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
}


def main() -> None:
    """Measure the cost of `state_of` with few and with many objects in the cluster."""
    table = Table("state of a namespace", Column("list s", 2), Column("read us", 2))
    for size in _SIZES:
        with tempfile.TemporaryDirectory() as folder:
            talk(_measured(table, size, Path(folder)))


async def _measured(table: Table, size: int, folder: Path) -> None:
    fake = FakeKubeApi(free_port(), page_size=1000)
    _fill(fake, size)
    async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, folder)) as api:
        started = time.perf_counter()
        async with following(api) as live:
            list_seconds = time.perf_counter() - started
            await asyncio.sleep(0.5)
            clusters = len(live.state_of("team-0").ray_clusters or ())
            title = f"{size} of each, {clusters} in one"
            table.add(title, list_seconds, [_measure_once(live) for _ in range(_ROUNDS)])


def _measure_once(live: KubeLive) -> float:
    """Microseconds of one call, as the mean of many."""
    started = time.perf_counter()
    for _ in range(_CALLS):
        live.state_of("team-0")
    return (time.perf_counter() - started) / _CALLS * 1e6


def _fill(fake: FakeKubeApi, size: int) -> None:
    """Put half of the objects into one namespace and spread the rest over others."""
    for team in range(_TEAMS):
        fake.put("namespaces", {"metadata": _metadata(f"team-{team}")})
    for plural, spec in _KINDS.items():
        for index in range(size):
            namespace = f"team-{index % _TEAMS if index % 2 else 0}"
            fake.put(
                plural,
                {"metadata": _metadata(f"object-{index}", namespace=namespace), "spec": spec},
            )


def _metadata(name: str, **more: str) -> dict[str, Any]:
    return {"name": name, "uid": f"uid-{name}", "creationTimestamp": "2026-11-20T08:00:00Z", **more}


if __name__ == "__main__":
    main()
