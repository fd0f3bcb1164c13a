"""Which address a Ray node gives to its peers."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import POD_IP_EXPANSION
from policies.model import Facts, Mutation
from policies.ray.pod import PodRole
from policies.ray.workload import ClusterSpec, Group, Workload


class NodeIpAddress(Mutation):
    """Names each node by its pod IP, which its certificate always holds; Ray's own guess can be another interface.

    `inject.nodeIpAddress: fqdn` names the head by its service instead. Ray cannot start that way behind a ClusterIP,
    NodePort or LoadBalancer service, and autoscaler v1 loses count of such a head: there the pod IP is used.
    """

    id: ClassVar[str] = "node-ip-address"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Writes `rayStartParams.node-ip-address` of every group of a RayCluster; yields why `fqdn` was not used."""
        cluster, mode = workload.cluster, facts.injection.node_ip_address
        if workload.kind != "RayCluster" or cluster is None:
            return
        obstacle = _obstacle_to_fqdn(cluster, workload) if mode == "fqdn" else ""
        if obstacle and facts.before is None:
            yield f"the head keeps its pod IP as node-ip-address, not its service name: {obstacle}"
        for group in cluster.groups:
            by_name = mode == "fqdn" and not obstacle and group.role is PodRole.HEAD
            address = (
                _head_fqdn(cluster, workload, facts)
                if by_name
                else ""
                if mode == "off"
                else POD_IP_EXPANSION
            )
            with draft.all_or_nothing():
                _write(draft, group, _stored_address(group, address, facts))


def _write(draft: Draft, group: Group, address: str) -> None:
    if address and group.pod.ray_container and group.start_params.get("node-ip-address") is None:
        draft.set(group.pointer / "rayStartParams" / "node-ip-address", address)


def _stored_address(group: Group, otherwise: str, facts: Facts) -> str:
    """The address a stored group has, where we wrote it: the mode may have changed since. A new group has none yet."""
    stored = (
        facts.before.cluster.counterpart(group) if facts.before and facts.before.cluster else None
    )
    if stored:
        address = as_str(stored.start_params.get("node-ip-address"))
        ours = address == POD_IP_EXPANSION or address.endswith(
            f".svc.{facts.injection.cluster_domain}"
        )
        return address if ours else ""
    return otherwise


def _head_fqdn(cluster: ClusterSpec, workload: Workload, facts: Facts) -> str:
    """The name of the head service as KubeRay makes it (`GenerateHeadServiceName`)."""
    service = as_dict(as_dict(cluster.head.raw.get("headService")).get("metadata"))
    name = as_str(service.get("name")) or f"{workload.name}-head-svc"
    return f"{name}.{facts.namespace}.svc.{facts.injection.cluster_domain}"


def _obstacle_to_fqdn(cluster: ClusterSpec, workload: Workload) -> str:
    head = cluster.head.raw
    if not as_str(workload.metadata.get("name")):
        return "the cluster has only a generateName"
    if head.get("headService") is not None or as_str(head.get("serviceType")) not in (
        "",
        "ClusterIP",
    ):
        return "its head service is not KubeRay's headless one, and Ray cannot bind to a service address"
    if (
        cluster.autoscaling
        and as_dict(cluster.spec.get("autoscalerOptions")).get("version") != "v2"
    ):
        return "autoscaler v1 counts only nodes that go by their pod IP"
    return ""
