"""No Service makes Ray public."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.add_ons import add_on_behind
from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.endpoints import (
    CONTROLLER,
    MANAGED_BY_LABEL,
    LiveEndpoints,
    endpoint_ports,
    service_of,
)
from policies.cluster.exposure import RAY_PORTS, exposures
from policies.cluster.related_object import RelatedObject
from policies.cluster.serve import SERVE_LABEL, is_serve_alone
from policies.cluster.state import MAX_COMPARISONS, LiveService, RayClusterLookup, ports_of
from policies.documents.pointer import ROOT
from policies.documents.selectors import has_labels
from policies.documents.untyped import clipped, dict_items, str_items
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.kuberay import labels_of_pods
from policies.ray.membership import has_claims
from policies.ray.workload import LABEL_PREFIXES, Workload

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

    A Service belongs to Ray if it selects Ray's labels or pods of an existing RayCluster. It also
    belongs to Ray if it leads to one of Ray's ports in a namespace with a RayCluster, or to
    KubeRay's API server or history server. A Service that leads to Ray Serve alone (ports 8000 and
    9000), the interface of an application, is refused by the profile `restricted` only.
    The rule also refuses EndpointSlices and Endpoints to Ray's ports that are created by hand. Port
    6379 is also used by Redis, so endpoints to it are refused only if their Service is public. A
    RayCluster is refused if a public Service already selects its pods, or if such endpoints already
    lead to its ports. A public Service without a selector is refused beside a RayCluster, because
    its endpoints can change without a trace.
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
        RAY_PORTS,
        description="ports that count as Ray's beside a RayCluster, whatever the Service selects",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        state = facts.namespace_state
        if state.public_services:
            yield from self._check_selecting(workload, state.public_services, facts)
        if state.endpoints and workload.cluster:
            yield from self._check_leading(workload, state.endpoints, facts)

    def _check_selecting(
        self, workload: Workload, public: Collection[LiveService], facts: Facts
    ) -> Iterator[Violation]:
        """No public Service selects the pods of `workload`."""
        pod_labels = [pod.labels for pod in workload.pods]
        if workload.cluster:
            pod_labels = list(labels_of_pods(workload))
        if len(public) * len(pod_labels) > MAX_COMPARISONS:
            message = "this namespace has too many public Services to check"
            remediation = "delete the public Services that are not needed"
            yield self.violation(message, ROOT / "metadata", remediation)
            return
        own_ports = ports_of(workload)
        ray_ports = RayClusterLookup(facts.namespace_state).ports.union(own_ports)
        has_moved_port = any(isinstance(port, int) for port in own_ports)
        for service in public:
            how = _how_it_leads_to(service, pod_labels, has_moved_port)
            if how and not _was_checked_itself(service, workload, ray_ports):
                yield self.violation(
                    f"the public Service {service.name} of this namespace {how}",
                    ROOT / "metadata",
                    "in that Service, set type: ClusterIP and remove externalIPs, or run kubectl "
                    f"delete service {service.name} --namespace={facts.namespace}",
                    profile=self._level(service, ray_ports),
                )

    def _check_leading(
        self, workload: Workload, endpoints: Mapping[str, LiveEndpoints], facts: Facts
    ) -> Iterator[Violation]:
        """No endpoints that were created by hand lead to the ports of `workload`."""
        if len(endpoints) > MAX_COMPARISONS:
            message = "this namespace has too many EndpointSlices created by hand to check"
            remediation = "delete the EndpointSlices that are not needed"
            yield self.violation(message, ROOT / "metadata", remediation)
            return
        own_ports = ports_of(workload).union(RAY_PORTS)
        for existing in endpoints.values():
            for port in existing.leads_to(own_ports):
                if port == _GCS and not _is_public(existing.service, facts):
                    continue
                yield self.violation(
                    f"the EndpointSlice {existing.name} of this namespace is not Kubernetes' own "
                    f"and leads to port {port} of this cluster",
                    ROOT / "metadata",
                    "use other ports, or run kubectl delete endpointslice "
                    f"{existing.name} --namespace={facts.namespace}",
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
        service = LiveService.of(related_object.document)
        lookup = RayClusterLookup(facts.namespace_state)
        reason = self._why_ray(service, lookup, facts)
        if not reason:
            return
        level = self._level(service, lookup.ports)
        for exposure in exposures(
            related_object.spec, related_object.annotations, ROOT / "spec", self.clouds
        ):
            yield self.violation(
                f"this Service {reason} and {exposure.problem}",
                exposure.pointer,
                exposure.remediation,
                profile=level,
                advisory=exposure.advisory,
            )

    def _level(self, service: LiveService, ray_ports: Collection[int | str]) -> Profile:
        """The profile that refuses the Service; Serve is judged as in `no-open-ingress`."""
        # Only the ports of KubeRay's pods are known, and only they have its claims. The author of
        # any pod can set its other labels, such as ray.io/serve.
        if has_claims(service.selector) and is_serve_alone(service.ports.values(), ray_ports):
            return Profile.RESTRICTED
        return self.profile

    def _why_ray(self, service: LiveService, lookup: RayClusterLookup, facts: Facts) -> str:
        """Why the Service belongs to Ray, as a verb phrase; empty if it does not."""
        if add_on := add_on_behind(service):
            return f"leads to {add_on}, which has no authentication,"
        if any(name.startswith(LABEL_PREFIXES) for name in service.selector):
            return "selects Ray's pods"
        known = self._ports(lookup) if lookup.may_have_clusters else frozenset[int | str]()
        if ports := known.intersection(service.ports.values()):
            return f"leads to Ray's {_listed(ports)}"
        if by_hand := self._ports_by_hand(service, lookup, facts):
            return f"has endpoints created by hand, which lead to Ray's {_listed(by_hand)},"
        cluster = lookup.cluster_with(service.selector)
        if cluster and not service.selector:
            # Also endpoints that existed before the Service, or that a deleted Service left behind.
            return "has no selector beside a RayCluster, so that any endpoints can lead to it,"
        return f"selects pods of the RayCluster {cluster}" if cluster else ""

    def _ports(self, lookup: RayClusterLookup) -> frozenset[int | str]:
        return lookup.ports.difference(RAY_PORTS).union(self.ports)

    def _ports_by_hand(
        self, service: LiveService, lookup: RayClusterLookup, facts: Facts
    ) -> set[int | str]:
        """Ray's ports to which the Service leads by endpoints created by hand."""
        wanted, ports = self._ports(lookup), set[int | str]()
        for existing in (facts.namespace_state.endpoints or {}).values():
            if existing.service == service.name:
                ports.update(existing.leads_to(wanted))
        return ports

    def _check_endpoints(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        if facts.user in _CONTROLLERS:
            return
        kind, name = related_object.kind, service_of(related_object.document)
        yield from self._check_manager(related_object, name, facts)
        is_public = _is_public(name, facts)
        ports = self._ports(RayClusterLookup(facts.namespace_state))
        for port, place in endpoint_ports(related_object.document):
            if not isinstance(port, int) or port not in ports or (port == _GCS and not is_public):
                continue
            message = f"this {kind} is created by hand and leads to Ray's port {port}"
            remediation = "delete it; use a Service with a selector to reach Ray"
            # The Service is evidence: an update that moves a controller's own EndpointSlice to
            # another Service is a finding of its own.
            yield self.violation(message, place, remediation, evidence=clipped(name))

    def _check_manager(
        self, related_object: RelatedObject, service_name: str, facts: Facts
    ) -> Iterator[Violation]:
        """Only slices of Kubernetes' controller have its name, because RayWarden ignores those.

        The controller itself corrects the slices of a Service that has a selector.
        """
        services = facts.namespace_state.services
        if services is None or related_object.labels.get(MANAGED_BY_LABEL) != CONTROLLER:
            return
        service = services.get(service_name)
        if service is not None and service.selector:
            return
        # A change of the addresses is a finding of its own.
        evidence = ",".join(_addresses(related_object.document))
        yield self.violation(
            f"this EndpointSlice says that {CONTROLLER} manages it, but Kubernetes' controller "
            "did not write it",
            ROOT / "metadata" / "labels" / MANAGED_BY_LABEL,
            f"remove {MANAGED_BY_LABEL}",
            evidence=evidence,
        )


def _is_public(name: str, facts: Facts) -> bool:
    service = (facts.namespace_state.services or {}).get(name)
    return service is not None and service.public


def _listed(ports: Collection[int | str]) -> str:
    noun = "port" if len(ports) == 1 else "ports"
    return f"{noun} {', '.join(sorted(map(str, ports)))}"


def _how_it_leads_to(
    service: LiveService, pod_labels: Collection[Mapping[str, Any]], has_moved_port: bool
) -> str:
    """How a Service leads to pods with these labels, as a verb phrase; empty if it does not."""
    if service.selector:
        wanted = dict(service.selector)
        if has_claims(wanted):
            # A pod can get this label while it runs.
            wanted.pop(SERVE_LABEL, None)
        is_selected = any(has_labels(wanted, labels) for labels in pod_labels)
        return "selects these pods" if is_selected else ""
    # Endpoints to Ray's default ports are refused; those to other ports may exist already.
    return "has no selector, and may lead to a port that was moved" if has_moved_port else ""


def _addresses(document: Mapping[str, Any]) -> Iterator[str]:
    for _, endpoint in dict_items(document.get("endpoints")):
        for _, address in str_items(endpoint.get("addresses")):
            yield address


def _was_checked_itself(
    service: LiveService, workload: Workload, ray_ports: Collection[int | str]
) -> bool:
    """A Service with Ray's labels in its selector was checked, with its exemptions, on its own.

    One to Serve alone was checked by the ports that Ray had then. Another part of Ray may listen on
    them now.
    """
    targets = service.ports.values()
    if is_serve_alone(targets, ()) and not is_serve_alone(targets, ray_ports):
        return False
    return workload.is_kuberay_pod and any(
        name.startswith(LABEL_PREFIXES) for name in service.selector
    )
