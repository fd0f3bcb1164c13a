"""Ray pods do not share namespaces or ports with the node."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.untyped import dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.workload import Workload

_SHARED = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")


class NoHostAccess(Rule):
    """Refuses hostNetwork, hostPID, hostIPC, shareProcessNamespace and hostPort.

    Why: with hostNetwork or hostPort, Ray listens on the node's own address, where no NetworkPolicy
    applies. In a shared process namespace, every container can read the environment, files and
    memory of the others, including the TLS key.
    Fix: remove the field. Clients reach Ray through its ClusterIP Service.
    """

    id: ClassVar[str] = "no-host-access"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            for field in _SHARED:
                if pod.spec.get(field) is True:
                    place = pod.spec_pointer / field
                    yield self.violation(f"the {pod.title} sets {field}", place, f"remove {field}")
            for container in pod.containers:
                yield from self._check_ports(container, pod)

    def _check_ports(self, container: Container, pod: Pod) -> Iterator[Violation]:
        for index, port in dict_items(container.raw.get("ports")):
            # The API server treats 0 as "not set".
            if port.get("hostPort") not in (None, 0):
                title = pod.title_of(container)
                yield self.violation(
                    f"{title} takes port {port['hostPort']} of the node",
                    container.pointer / "ports" / index / "hostPort",
                    "remove hostPort; use a Service to reach the pod",
                )
