"""Ray pods stay out of the node's namespaces."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.untyped import dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

_SHARED = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")


class NoHostAccess(Rule):
    """Refuses hostNetwork, hostPID, hostIPC, shareProcessNamespace and hostPort.

    Why: on the node's network Ray's ports are the node's, past every NetworkPolicy; in a shared process namespace any
    container reads the environment, files and memory of the others, the TLS key among them.
    Fix: delete the field; reach Ray through its ClusterIP service.
    """

    id: ClassVar[str] = "no-host-access"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            for field in _SHARED:
                if pod.spec.get(field) is True:
                    pointer = pod.spec_pointer / field
                    yield self.violation(
                        f"the {pod.title} sets {field}", pointer, f"delete {field}"
                    )
            for container in pod.containers:
                for index, port in dict_items(container.raw.get("ports")):
                    # 0 is how the API server spells "not set".
                    if port.get("hostPort") not in (None, 0):
                        pointer = container.pointer / "ports" / index / "hostPort"
                        message = (
                            f"{pod.title_of(container)} takes port {port['hostPort']} of the node"
                        )
                        yield self.violation(
                            message, pointer, "delete hostPort; a Service leads to the pod"
                        )
