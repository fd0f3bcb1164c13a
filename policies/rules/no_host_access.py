"""Ray pods do not share namespaces or ports with the node."""

from collections.abc import Iterator
from typing import Any, ClassVar

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Container, Pod
from policies.ray.summary import Summary
from policies.ray.workload import Workload

# The last one shares nothing with the node, and the baseline Pod Security Standard allows it.
SHARED = {
    "hostNetwork": Profile.BASELINE,
    "hostPID": Profile.BASELINE,
    "hostIPC": Profile.BASELINE,
    "shareProcessNamespace": Profile.RESTRICTED,
}
# Where a container can name a host for the kubelet (Pod Security Standards, baseline since
# Kubernetes 1.34: `hostProbesAndHostLifecycle`).
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HOOKS = ("postStart", "preStop")
_HANDLING = frozenset({*_PROBES, "lifecycle"})
_HANDLERS = ("httpGet", "tcpSocket")


class NoHostAccess(Rule):
    """Refuses hostNetwork, hostPID, hostIPC, shareProcessNamespace, hostPort and hosts of probes.

    The hosts are those of `httpGet` and `tcpSocket` in probes and lifecycle hooks.
    `shareProcessNamespace` concerns only the containers of one pod, so it counts under `restricted`
    only.
    Why: with hostNetwork or hostPort, Ray listens on the node's own address, where no NetworkPolicy
    applies. In a shared process namespace, every container can read the environment, files and
    memory of the others, including the TLS key. The kubelet sends probes from the node, so a probe
    with a host reaches what only nodes may reach.
    Fix: remove the field. Clients reach Ray through its ClusterIP Service. A probe without a host
    goes to the pod.
    """

    id: ClassVar[str] = "no-host-access"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        fields = workload.summary.fields
        has_ports, may_share = "hostPort" in fields, not SHARED.keys().isdisjoint(fields)
        has_hosts = not _HANDLING.isdisjoint(fields) and _names_hosts(workload.summary)
        if not (has_ports or may_share or has_hosts):
            return
        for pod in workload.pods:
            for field, level in SHARED.items() if may_share else ():
                if pod.spec.get(field) is True:
                    place = pod.spec_pointer / field
                    message, remediation = f"the {pod.title} sets {field}", f"remove {field}"
                    yield self.violation(message, place, remediation, profile=level)
            for container in pod.containers:
                if has_ports and "ports" in container.raw:
                    yield from self._check_ports(container, pod)
                if has_hosts:
                    yield from self._check_probes(container, pod)

    def _check_ports(self, container: Container, pod: Pod) -> Iterator[Violation]:
        for index, port in dict_items(container.raw.get("ports")):
            # The API server treats 0 as "not set".
            if port.get("hostPort") not in (None, 0):
                title = container.title
                yield self.violation(
                    f"{title} takes port {port['hostPort']} of the node",
                    container.pointer / "ports" / index / "hostPort",
                    "remove hostPort; use a Service to reach the pod",
                )

    def _check_probes(self, container: Container, pod: Pod) -> Iterator[Violation]:
        lifecycle = as_dict(container.raw.get("lifecycle"))
        for name in _PROBES:
            yield from self._check_host(container.raw.get(name), (name,), container, pod)
        for name in _HOOKS:
            yield from self._check_host(lifecycle.get(name), ("lifecycle", name), container, pod)

    def _check_host(
        self, handler: Any, path: tuple[str, ...], container: Container, pod: Pod
    ) -> Iterator[Violation]:
        for kind in _HANDLERS:
            host = as_str(as_dict(as_dict(handler).get(kind)).get("host"))
            if host:
                yield self.violation(
                    f"{path[-1]} of {container.title} names a host, which the kubelet "
                    "contacts from the node",
                    Pointer((*container.pointer, *path, kind, "host")),
                    "remove host; the kubelet then uses the IP of the pod",
                    evidence=host,
                )


def _names_hosts(summary: Summary) -> bool:
    """A probe or lifecycle hook of some container may name a host."""
    for name in filter(summary.fields.__contains__, _PROBES):
        if any(map(_has_host, summary.values_of(name))):
            return True
    lifecycles = summary.values_of("lifecycle") if "lifecycle" in summary.fields else ()
    return any(_has_host(hook) for part in lifecycles for hook in as_dict(part).values())


def _has_host(handler: Any) -> bool:
    if not isinstance(handler, dict):
        return False
    http, tcp = handler.get("httpGet"), handler.get("tcpSocket")
    return "host" in as_dict(http) or "host" in as_dict(tcp)
