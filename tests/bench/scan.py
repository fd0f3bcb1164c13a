"""Measures a scan of a cluster with many objects, against a real API server."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.installation import define
from tests.bench.figures import Column, Table
from tests.support import factory
from tests.support.factory import Object
from webhook.reports.formats import ReportFormat

_CLUSTERS = 2000
_TEAMS = 100
_AT_ONCE = 16
_RAY_KINDS = ("RayCluster", "RayJob", "RayService", "RayCronJob")


def main() -> None:
    """Measure the time, the CPU time and the memory of a scan of 10,000 objects."""
    table = Table("raywarden scan", Column("seconds", 1), Column("CPU s", 1), Column("MiB"))
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if not assets:
        print("skipped: KUBEBUILDER_ASSETS names no folder with kube-apiserver and etcd")
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        ControlPlane(Path(folder), Path(assets)) as control_plane,
    ):
        count = _fill(control_plane)
        for format in ReportFormat:
            table.add(
                f"{count} objects, {format}", *_scan(control_plane, f"{format}={folder}/report")
            )


def _scan(control_plane: ControlPlane, output: str) -> tuple[float, float, float]:
    """Seconds, seconds of CPU, and the most memory."""
    options = ("--kubeconfig", str(control_plane.admin_kubeconfig), "-o", output)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "webhook", "scan", *options],
        env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1"},
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    assert os.waitstatus_to_exitcode(status) in (0, 1)
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def _fill(control_plane: ControlPlane) -> int:
    """Create Ray clusters with their pods and Services; returns how many objects there are."""
    for kind in _RAY_KINDS:
        define(control_plane, "ray.io", "v1", kind)
    for team in range(_TEAMS):
        control_plane.make("/api/v1/namespaces", {"metadata": {"name": f"team-{team}"}})
        accounts = f"/api/v1/namespaces/team-{team}/serviceaccounts"
        control_plane.make(accounts, {"metadata": {"name": "ray"}})
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        counts = threads.map(lambda number: _make(control_plane, number), range(_CLUSTERS))
        return sum(counts)


def _make(control_plane: ControlPlane, number: int) -> int:
    namespace, name = f"team-{number % _TEAMS}", f"cluster-{number}"
    stored = control_plane.make(
        f"/apis/ray.io/v1/namespaces/{namespace}/rayclusters",
        _named(factory.ray_cluster(), namespace, name),
    )
    made = 1
    for path, document in _of_cluster(namespace, name, stored["metadata"]["uid"]):
        control_plane.make(path, document)
        made += 1
    return made


def _of_cluster(namespace: str, name: str, uid: str) -> Iterator[tuple[str, Object]]:
    core = f"/api/v1/namespaces/{namespace}"
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "controller": True}
    pods = (factory.head_pod(), factory.worker_pod(), factory.worker_pod())
    for index, pod in enumerate(pods):
        document = _named(pod, namespace, f"{name}-{index}")
        document["metadata"]["labels"]["ray.io/cluster"] = name
        document["metadata"]["ownerReferences"] = [{**owner, "name": name, "uid": uid}]
        yield f"{core}/pods", document
    selector = {"ray.io/cluster": name, "ray.io/node-type": "head"}
    spec: dict[str, Any] = {"selector": selector, "ports": [{"port": 8265}], "clusterIP": "None"}
    yield f"{core}/services", {"metadata": {"name": f"{name}-head-svc"}, "spec": spec}


def _named(document: Object, namespace: str, name: str) -> Object:
    metadata = {**document["metadata"], "name": name, "namespace": namespace}
    metadata.pop("generateName", None)
    return {**document, "metadata": metadata}


if __name__ == "__main__":
    main()
