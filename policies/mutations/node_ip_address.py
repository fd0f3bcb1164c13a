"""The address that a Ray node announces to its peers."""

from collections.abc import Iterable
from typing import ClassVar

from policies.documents.draft import Draft, UnreadableValueError
from policies.documents.metadata import name_of
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import POD_IP_EXPANSION
from policies.model import Facts, Mutation
from policies.ray.pod import PodRole
from policies.ray.workload import ClusterSpec, Group, Workload

_PARAMETER = "node-ip-address"


class NodeIpAddress(Mutation):
    """Sets the address of each node to its pod IP, which its certificate always contains.

    Ray's own choice can be the address of another interface. With `inject.nodeIpAddress: fqdn` the
    head announces its service name instead. Ray cannot start with that name behind a ClusterIP,
    NodePort or LoadBalancer service, and autoscaler v1 does not recognize such a head. In these
    cases the head announces its pod IP.
    """

    id: ClassVar[str] = "node-ip-address"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Writes `rayStartParams.node-ip-address` into every group of a RayCluster.

        Returns the reason if `fqdn` could not be used.
        """
        cluster, mode = workload.cluster, facts.injection.node_ip_address
        if cluster is None:
            return ()
        obstacle = _obstacle_to_fqdn(cluster, workload) if mode == "fqdn" else ""
        for group in cluster.groups:
            if mode == "off":
                address = ""
            elif mode == "fqdn" and not obstacle and group.role is PodRole.HEAD:
                address = _head_fqdn(cluster, workload, facts)
            else:
                address = POD_IP_EXPANSION
            _write(draft, group, _stored_address(group, address, facts))
        if not obstacle or facts.before is not None:
            return ()
        return (f"the head gets its pod IP as node-ip-address, not its service name: {obstacle}",)


def _write(draft: Draft, group: Group, address: str) -> None:
    if address and group.pod.ray_container and group.start_params.get(_PARAMETER) is None:
        try:
            draft.set(group.pointer / "rayStartParams", _PARAMETER, address)
        except UnreadableValueError as problem:
            # The other groups still get their address.
            draft.leave(problem, len(draft.changes))


def _stored_address(group: Group, default: str, facts: Facts) -> str:
    """The address RayWarden wrote into the stored group, or `default` for a new group.

    The stored address is kept although the mode may have changed since. Empty if RayWarden did not
    write it.
    """
    before = facts.before.cluster if facts.before else None
    stored = before.counterpart(group) if before else None
    if stored is None:
        return default
    address = as_str(stored.start_params.get(_PARAMETER))
    if address == POD_IP_EXPANSION or address.endswith(f".svc.{facts.injection.cluster_domain}"):
        return address
    return ""


def _head_fqdn(cluster: ClusterSpec, workload: Workload, facts: Facts) -> str:
    """The DNS name of the head service that KubeRay creates (`GenerateHeadServiceName`)."""
    service = as_dict(cluster.head.raw.get("headService"))
    name = name_of(service) or f"{workload.name}-head-svc"
    return f"{name}.{facts.namespace}.svc.{facts.injection.cluster_domain}"


def _obstacle_to_fqdn(cluster: ClusterSpec, workload: Workload) -> str:
    """Why Ray's head cannot announce its service name; empty if it can."""
    head = cluster.head.raw
    if not as_str(workload.metadata.get("name")):
        return "the cluster has only a generateName"
    own_service = head.get("headService") is not None
    if own_service or as_str(head.get("serviceType")) not in ("", "ClusterIP"):
        return (
            "its head service is not KubeRay's headless service, and Ray cannot bind to the address"
            " of any other service"
        )
    autoscaler = as_dict(cluster.spec.get("autoscalerOptions"))
    if cluster.autoscaling and autoscaler.get("version") != "v2":
        return "autoscaler v1 only recognizes nodes by their pod IP"
    return ""
