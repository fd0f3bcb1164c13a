"""No Service made beside KubeRay's own puts Ray on the internet."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.exposure import RAY_PORTS, exposures
from policies.cluster.related_object import RelatedObject
from policies.cluster.selectors import holds
from policies.cluster.state import MOST_LOOKED_AT, LiveService, RayClusterLookup
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped, dict_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.kuberay import labels_of_pods
from policies.ray.workload import LABEL_PREFIXES, Workload

_SERVICE_LABEL = "kubernetes.io/service-name"
# Who writes where a Service leads, as its selector says; by kube-controller-manager's own name without
# --use-service-account-credentials.
_CONTROLLERS = (
    "system:serviceaccount:kube-system:endpoint-controller",
    "system:serviceaccount:kube-system:endpointslice-controller",
    "system:serviceaccount:kube-system:endpointslicemirroring-controller",
    "system:kube-controller-manager",
)
_GCS = 6379


class NoPublicRayService(Rule):
    """Refuses Services that put Ray on the internet: LoadBalancer, NodePort, externalIPs.

    A Service is Ray's when it selects Ray's labels, pods of a RayCluster that exists, or leads to one of Ray's ports.
    EndpointSlices and Endpoints that lead to Ray's ports and were written by hand are refused too (to 6379, which is
    also Redis', only under a Service that is public), and RayClusters whose pods a public Service already selects.
    Why: GCS (6379), dashboard (8265), Ray Client (10001) and the agent (52365) run code for whoever reaches them.
    Fix: type ClusterIP, or for a load balancer source ranges or your cloud's annotation for an internal one.
    """

    id: ClassVar[str] = "no-public-ray-service"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    clouds: tuple[CloudName, ...] = Field(
        CLOUD_NAMES,
        description="clouds whose annotations count for a load balancer; name yours alone",
    )
    ports: tuple[int, ...] = Field(
        RAY_PORTS, description="ports taken for Ray's whatever the Service selects"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        public = facts.namespace_state.public_services
        if not public:
            return
        labels = (
            list(labels_of_pods(workload))
            if workload.cluster
            else [pod.labels for pod in workload.pods]
        )
        if len(public) * len(labels) > MOST_LOOKED_AT:
            message = "there are more public Services in this namespace than can be looked at"
            yield self.violation(message, ROOT / "metadata", "delete those that are not needed")
            return
        for service in public:
            # One that selects Ray's own labels was judged itself, with its load balancer and its exemptions.
            by_ray = workload.is_kuberay_pod and any(
                name.startswith(LABEL_PREFIXES) for name in service.selector
            )
            if (
                service.selector
                and not by_ray
                and any(holds(service.selector, one) for one in labels)
            ):
                message = f"the Service {service.name} of this namespace is public, and selects these pods"
                remediation = f"have it say type: ClusterIP without externalIPs, or kubectl delete service {service.name}"
                remediation += f" --namespace={facts.namespace}"
                yield self.violation(message, ROOT / "metadata", remediation)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        match related_object.kind:
            case "Service":
                yield from self._check_service(related_object, facts)
            case "EndpointSlice" | "Endpoints":
                yield from self._check_endpoints(related_object, facts)

    def _check_service(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        service = LiveService.of(related_object.document)
        why = self._why_ray(service, facts)
        for how, pointer, remediation in (
            exposures(related_object.spec, related_object.annotations, ROOT / "spec", self.clouds)
            if why
            else ()
        ):
            yield self.violation(f"this Service {why}, and {how}", pointer, remediation)

    def _why_ray(self, service: LiveService, facts: Facts) -> str:
        if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
            return "selects Ray's pods"
        lookout = RayClusterLookup(facts.namespace_state)
        reached = self._ports(lookout).intersection(service.ports.values())
        if reached:
            return f"leads to port {', '.join(sorted(map(str, reached)))}, Ray's"
        found = lookout.cluster_with(service.selector) if service.selector else ""
        return f"selects pods of the RayCluster {found}" if found else ""

    def _ports(self, lookout: RayClusterLookup) -> frozenset[int | str]:
        return lookout.ports.difference(RAY_PORTS).union(self.ports)

    def _check_endpoints(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        if facts.user in _CONTROLLERS:
            return
        service = (
            related_object.labels.get(_SERVICE_LABEL)
            if related_object.kind == "EndpointSlice"
            else related_object.name
        )
        known = (facts.namespace_state.services or {}).get(as_str(service))
        ports = self._ports(RayClusterLookup(facts.namespace_state))
        for port, pointer in _endpoint_ports(related_object.document):
            if (
                isinstance(port, int)
                and port in ports
                and (port != _GCS or (known is not None and known.public))
            ):
                message = f"this {related_object.kind} was written by hand, and leads to port {port}, Ray's"
                # The controller's own slice, which this may have been, was for the Service it says.
                remediation = "delete it; what leads to Ray is a Service with a selector"
                yield self.violation(
                    message, pointer, remediation, evidence=clipped(as_str(service))
                )


def _endpoint_ports(document: Mapping[str, Any]) -> Iterator[tuple[Any, Pointer]]:
    """The ports of an EndpointSlice, or of every subset of Endpoints."""
    for index, port in dict_items(document.get("ports")):
        yield port.get("port"), ROOT / "ports" / index / "port"
    for index, subset in dict_items(document.get("subsets")):
        for place, port in dict_items(as_dict(subset).get("ports")):
            yield port.get("port"), ROOT / "subsets" / index / "ports" / place / "port"
