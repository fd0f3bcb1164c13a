"""No Service makes Ray public."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.exposure import RAY_PORTS, exposures
from policies.cluster.related_object import RelatedObject
from policies.cluster.selectors import has_labels
from policies.cluster.state import MAX_COMPARISONS, LiveService, RayClusterLookup
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.kuberay import labels_of_pods
from policies.ray.workload import LABEL_PREFIXES, Workload

_SERVICE_LABEL = "kubernetes.io/service-name"
# The controllers that write the endpoints of a Service from its selector. kube-controller-manager
# uses its own name if it runs without --use-service-account-credentials.
_CONTROLLERS = (
    "system:serviceaccount:kube-system:endpoint-controller",
    "system:serviceaccount:kube-system:endpointslice-controller",
    "system:serviceaccount:kube-system:endpointslicemirroring-controller",
    "system:kube-controller-manager",
)
_GCS = 6379


class NoPublicRayService(Rule):
    """Refuses Services that make Ray public: LoadBalancer, NodePort and externalIPs.

    A Service belongs to Ray if it selects Ray's labels or pods of an existing RayCluster, or if it
    leads to one of Ray's ports. The rule also refuses EndpointSlices and Endpoints to Ray's ports
    that are created by hand. Port 6379 is also used by Redis, so endpoints to it are refused only
    if their Service is public. A RayCluster is refused if a public Service already selects its
    pods.
    Why: anyone who can reach GCS (6379), the dashboard (8265), Ray Client (10001) or the dashboard
    agent (52365) can run code.
    Fix: set `type: ClusterIP`. For a load balancer, set source ranges or your cloud's annotation
    for an internal one.
    """

    id: ClassVar[str] = "no-public-ray-service"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    clouds: tuple[CloudName, ...] = Field(
        CLOUD_NAMES,
        description="clouds whose annotations make a load balancer internal; list only your own",
    )
    ports: tuple[int, ...] = Field(
        RAY_PORTS, description="ports that count as Ray's, whatever the Service selects"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        public = facts.namespace_state.public_services
        if not public:
            return
        pod_labels = [pod.labels for pod in workload.pods]
        if workload.cluster:
            pod_labels = list(labels_of_pods(workload))
        if len(public) * len(pod_labels) > MAX_COMPARISONS:
            message = "this namespace has too many public Services to check"
            remediation = "delete the public Services that are not needed"
            yield self.violation(message, ROOT / "metadata", remediation)
            return
        for service in public:
            if not service.selector or _was_checked_itself(service, workload):
                continue
            if any(has_labels(service.selector, labels) for labels in pod_labels):
                yield self.violation(
                    f"the public Service {service.name} of this namespace selects these pods",
                    ROOT / "metadata",
                    "in that Service, set type: ClusterIP and remove externalIPs, or run kubectl "
                    f"delete service {service.name} --namespace={facts.namespace}",
                )

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        match related_object.kind:
            case "Service":
                yield from self._check_service(related_object, facts)
            case "EndpointSlice" | "Endpoints":
                yield from self._check_endpoints(related_object, facts)

    def _check_service(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        reason = self._why_ray(LiveService.of(related_object.document), facts)
        if not reason:
            return
        for problem, place, remediation in exposures(
            related_object.spec, related_object.annotations, ROOT / "spec", self.clouds
        ):
            yield self.violation(f"this Service {reason} and {problem}", place, remediation)

    def _why_ray(self, service: LiveService, facts: Facts) -> str:
        """Why the Service belongs to Ray, as a verb phrase; empty if it does not."""
        if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
            return "selects Ray's pods"
        lookup = RayClusterLookup(facts.namespace_state)
        ports = self._ports(lookup).intersection(service.ports.values())
        if ports:
            noun = "port" if len(ports) == 1 else "ports"
            return f"leads to Ray's {noun} {', '.join(sorted(map(str, ports)))}"
        cluster = lookup.cluster_with(service.selector) if service.selector else ""
        return f"selects pods of the RayCluster {cluster}" if cluster else ""

    def _ports(self, lookup: RayClusterLookup) -> frozenset[int | str]:
        return lookup.ports.difference(RAY_PORTS).union(self.ports)

    def _check_endpoints(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        if facts.user in _CONTROLLERS:
            return
        name = as_str(related_object.name)
        if related_object.kind == "EndpointSlice":
            name = as_str(related_object.labels.get(_SERVICE_LABEL))
        service = (facts.namespace_state.services or {}).get(name)
        is_public = service is not None and service.public
        ports = self._ports(RayClusterLookup(facts.namespace_state))
        for port, place in _endpoint_ports(related_object.document):
            if not isinstance(port, int) or port not in ports or (port == _GCS and not is_public):
                continue
            kind = related_object.kind
            message = f"this {kind} is created by hand and leads to Ray's port {port}"
            remediation = "delete it; use a Service with a selector to reach Ray"
            # The Service is evidence: an update that moves a controller's own EndpointSlice to
            # another Service is a finding of its own.
            yield self.violation(message, place, remediation, evidence=clipped(name))


def _was_checked_itself(service: LiveService, workload: Workload) -> bool:
    """A Service with Ray's labels in its selector was checked, with its exemptions, on its own."""
    return workload.is_kuberay_pod and any(
        name.startswith(LABEL_PREFIXES) for name in service.selector
    )


def _endpoint_ports(document: Mapping[str, Any]) -> Iterator[tuple[Any, Pointer]]:
    """The ports of an EndpointSlice, or of all subsets of Endpoints, each with its place."""
    for index, port in dict_items(document.get("ports")):
        yield port.get("port"), ROOT / "ports" / index / "port"
    for index, subset in dict_items(document.get("subsets")):
        for place, port in dict_items(as_dict(subset).get("ports")):
            yield port.get("port"), ROOT / "subsets" / index / "ports" / place / "port"
