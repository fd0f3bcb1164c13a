"""Ray's head and Serve are not on the internet."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any, ClassVar

from pydantic import Field

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.pointer import ROOT, Pointer
from policies.reading import mapping, text, texts
from policies.workload import ORIGIN_KIND_LABEL, Cluster, Workload

# What each cloud calls a load balancer without a public address.
_INTERNAL = {
    "service.beta.kubernetes.io/alibaba-cloud-loadbalancer-address-type": "intranet",
    "service.beta.kubernetes.io/aws-load-balancer-internal": "true",
    "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
    "networking.gke.io/load-balancer-type": "Internal",
    "cloud.google.com/load-balancer-type": "Internal",
    "service.beta.kubernetes.io/azure-load-balancer-internal": "true",
}
_FIX = "write type ClusterIP and use kubectl port-forward, or an Ingress that asks who is there"
# Public addresses a list of source ranges may let in and still be called a restriction: an IPv4 /8, an IPv6 /32.
_MOST_RANGES = 1000
_MOST_ADDRESSES = {4: 2**24, 6: 2**96}


class NoPublicHeadService(Rule):
    """Refuses LoadBalancer, NodePort and externalIPs for the head and Serve services KubeRay makes.

    A LoadBalancer passes with a cloud's annotation for an internal one, or with `loadBalancerSourceRanges`.
    Why: GCS (6379), dashboard (8265) and Ray Client (10001) run code for whoever reaches them; ShadowRay
    (CVE-2023-48022) was thousands of clusters exposed this way.
    Fix: serviceType ClusterIP; reach the dashboard by `kubectl port-forward`.
    """

    id: ClassVar[str] = "no-public-head-service"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    allowed_gateway_classes: tuple[str, ...] = Field(
        (), description="Gateway classes that RayService upgrades may use, known to be internal or to authenticate"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.cluster:
            yield from self._check_head(workload.cluster, _annotations_reach(workload))
        if workload.kind != "RayService":
            return
        serve = ROOT / "spec" / "serveService"
        yield from self._check_service(mapping(serve.read(workload.document)), serve, "the Serve service", {})
        gateway = Pointer(("spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName"))
        name = text(gateway.read(workload.document))
        if name and name not in self.allowed_gateway_classes:
            what = f"upgrades publish Serve through the Gateway class {name}"
            fix = "ask the administrator to list the class in allowedGatewayClasses, or use upgradeStrategy NewCluster"
            yield self.violation(what, gateway, fix)

    def _check_head(self, cluster: Cluster, annotated: bool) -> Iterator[Violation]:
        head, title = cluster.head, "the head service"
        service = mapping(head.raw.get("headService"))
        annotations = mapping(cluster.spec.get("headServiceAnnotations")) if annotated else {}
        restricted = annotated and _is_restricted(service, annotations)
        yield from self._check_type(head.raw.get("serviceType"), restricted, head.pointer / "serviceType", title)
        yield from self._check_service(service, head.pointer / "headService", title, annotations)

    def _check_service(
        self, service: Mapping[str, Any], pointer: Pointer, title: str, annotations: Mapping[str, Any]
    ) -> Iterator[Violation]:
        spec, restricted = mapping(service.get("spec")), _is_restricted(service, annotations)
        yield from self._check_type(spec.get("type"), restricted, pointer / "spec" / "type", title)
        if spec.get("externalIPs"):
            yield self.violation(f"{title} has externalIPs", pointer / "spec" / "externalIPs", "delete externalIPs")

    def _check_type(self, service_type: Any, restricted: bool, pointer: Pointer, title: str) -> Iterator[Violation]:
        if service_type == "NodePort":
            yield self.violation(f"{title} is a NodePort, open on every node", pointer, _FIX)
        elif service_type == "LoadBalancer" and not restricted:
            fix = (
                f"{_FIX}; a LoadBalancer needs loadBalancerSourceRanges or your cloud's annotation for an internal one"
            )
            yield self.violation(f"{title} is a LoadBalancer open to everyone", pointer, fix)


def _annotations_reach(workload: Workload) -> bool:
    """KubeRay writes `headServiceAnnotations` only on the head service it makes for a RayCluster of its own right.

    The services of a RayService, and the Serve service of a RayCluster that asks for one, take over the head's
    serviceType and none of its annotations (`BuildHeadServiceForRayService`, `BuildServeService`).
    """
    serves = text(workload.annotations.get("ray.io/enable-serve-service")).lower() == "true"
    of_service = "RayService" in (workload.kind, workload.labels.get(ORIGIN_KIND_LABEL))
    return not serves and not of_service


def _is_restricted(service: Mapping[str, Any], annotations: Mapping[str, Any]) -> bool:
    """A load balancer for this service has no public address, or lets in only some networks."""
    annotated = {**mapping(mapping(service.get("metadata")).get("annotations")), **annotations}
    chosen = [annotated[key] == value for key, value in _INTERNAL.items() if key in annotated]
    ranges = [value for _, value in texts(mapping(service.get("spec")).get("loadBalancerSourceRanges"))]
    return (bool(chosen) and all(chosen)) or _lets_in_few(ranges)


def _lets_in_few(ranges: list[str]) -> bool:
    """There are ranges, all can be read, and together they hold few public addresses."""
    try:
        networks = [ip_network(one.strip(), strict=False) for one in ranges[:_MOST_RANGES]]
    except ValueError:
        return False
    public = {4: 0, 6: 0}
    for network in networks:
        public[network.version] += 0 if network.is_private else network.num_addresses
    return 0 < len(ranges) <= _MOST_RANGES and all(
        count <= _MOST_ADDRESSES[version] for version, count in public.items()
    )
