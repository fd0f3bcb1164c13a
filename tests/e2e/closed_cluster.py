"""A running cluster behind NetworkPolicies: what it listens on, and who reaches which of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from policies.network.isolation import IsolationMode
from policies.network.ports import Ports, merged, missing_from
from policies.network.ray_traffic import HEAD_METRICS as HEAD_METRICS_PORTS
from policies.network.ray_traffic import ClusterTraffic
from policies.ray.workload import Workload
from tests.e2e.dialing import CLOSED, OPEN, Target, dialed, listening, with_result
from tests.e2e.kubelet import RunningPod
from tests.e2e.ray_cluster import RayCluster

DASHBOARD, SERVE, METRICS, HEAD_METRICS = 8265, 8000, 8080, (44217, 44227)


@dataclass(frozen=True)
class Closed:
    """A cluster of a RayJob with its policies, and pods outside it."""

    mode: IsolationMode
    cluster: RayCluster
    strangers: Mapping[str, RunningPod]
    notebook: RunningPod
    prometheus: RunningPod
    operator: RunningPod

    @property
    def title(self) -> str:
        return f"mode {self.mode}"

    def listening(self) -> set[Target]:
        """Every TCP port of every pod of the cluster on which something listens for others."""
        return {(pod.address, port) for pod in self.cluster.pods for port in listening(pod.network)}

    def public(self) -> set[Target]:
        """The ports that the mode leaves open to everybody."""
        if self.mode is not IsolationMode.MEMBERS:
            return set()
        return self.serve() | self.metrics()

    def serve(self) -> set[Target]:
        return {(pod.address, SERVE) for pod in self.cluster.pods}

    def metrics(self) -> set[Target]:
        everywhere = {(pod.address, METRICS) for pod in self.cluster.pods}
        return everywhere | {(self.head.address, port) for port in HEAD_METRICS}

    @property
    def head(self) -> RunningPod:
        return self.cluster.its_head


def opened(pod: RunningPod, targets: set[Target]) -> set[Target]:
    """The targets that a pod reaches; the firewall closes all others."""
    results = dialed(pod.network, targets)
    assert set(results.values()) <= {OPEN, CLOSED}, results
    return with_result(results, OPEN)


def unknown_ports(closed: Closed) -> Mapping[str, Ports]:
    """Ports that pods listen on and that RayWarden does not expect, by pod."""
    traffic = ClusterTraffic.of(Workload("RayCluster", closed.cluster.stored))
    head, workers = traffic.groups
    unknown = {}
    for pod in closed.cluster.pods:
        group, more = (head, HEAD_METRICS_PORTS) if pod is closed.head else (workers, ())
        expected = merged([*group.own, *group.random, *group.metrics, *group.public, *more])
        found = merged(range(port, port + 1) for port in listening(pod.network))
        if missing := missing_from(expected, found):
            unknown[pod.name] = missing
    return unknown
