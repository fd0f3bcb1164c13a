"""The head and Serve services that KubeRay creates are not public."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.exposure import exposure_by_type, exposures, is_restricted
from policies.documents.metadata import annotations_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.workload import ClusterSpec, Workload

_RESTRICT = (
    "a LoadBalancer needs headService.spec.loadBalancerSourceRanges, or your cloud's annotation "
    "for an internal one in headServiceAnnotations"
)


class NoPublicHeadService(Rule):
    """Refuses public head and Serve services: LoadBalancer, NodePort and externalIPs.

    A LoadBalancer is accepted with a cloud's annotation for an internal load balancer, or with
    `loadBalancerSourceRanges`. An exemption from this rule needs an exemption from
    `no-public-ray-service` as well, because that rule checks the Service that KubeRay creates.
    Why: anyone who can reach GCS (6379), the dashboard (8265) or Ray Client (10001) can run code.
    The ShadowRay attacks (CVE-2023-48022) found thousands of clusters exposed this way.
    Fix: set `serviceType: ClusterIP`, and reach the dashboard with `kubectl port-forward`.
    """

    id: ClassVar[str] = "no-public-head-service"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    clouds: tuple[CloudName, ...] = Field(
        CLOUD_NAMES,
        description="clouds whose annotations make a load balancer internal; list only your own",
    )
    allowed_gateway_classes: tuple[str, ...] = Field(
        (),
        description="Gateway classes that are internal or authenticate, and that RayService "
        "upgrades may use",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.cluster:
            yield from self._check_head(workload.cluster, _copies_annotations(workload))
        if workload.kind != "RayService":
            return
        serve = ROOT / "spec" / "serveService"
        service = as_dict(serve.read(workload.document))
        yield from self._check_service(service, serve, "the Serve service", annotations_of(service))
        gateway = Pointer(("spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName"))
        name = as_str(gateway.read(workload.document))
        if name and name not in self.allowed_gateway_classes:
            yield self.violation(
                f"upgrades expose Serve through the Gateway class {name}",
                gateway,
                "set upgradeStrategy: {type: NewCluster}, or ask the administrator to list the "
                "class in allowedGatewayClasses",
            )

    def _check_head(self, cluster: ClusterSpec, copies_annotations: bool) -> Iterator[Violation]:
        head = cluster.head
        service = as_dict(head.raw.get("headService"))
        annotations, restricted = annotations_of(service), False
        if copies_annotations:
            annotations = {**annotations, **as_dict(cluster.spec.get("headServiceAnnotations"))}
            restricted = is_restricted(as_dict(service.get("spec")), annotations, self.clouds)
        restrict = _RESTRICT if copies_annotations else ""
        exposure = exposure_by_type(
            head.raw.get("serviceType"), restricted, "serviceType", restrict
        )
        if exposure:
            problem, remediation = exposure
            place = head.pointer / "serviceType"
            yield self.violation(f"the head service {problem}", place, remediation)
        yield from self._check_service(
            service, head.pointer / "headService", "the head service", annotations
        )

    def _check_service(
        self,
        service: Mapping[str, Any],
        pointer: Pointer,
        title: str,
        annotations: Mapping[str, Any],
    ) -> Iterator[Violation]:
        spec = as_dict(service.get("spec"))
        for problem, place, remediation in exposures(
            spec, annotations, pointer / "spec", self.clouds
        ):
            yield self.violation(f"{title} {problem}", place, remediation)


def _copies_annotations(workload: Workload) -> bool:
    """KubeRay writes `headServiceAnnotations` only on the head service of a stand-alone RayCluster.

    The services of a RayService, and the Serve service that a RayCluster requests, take the head's
    serviceType but none of its annotations (`BuildHeadServiceForRayService`, `BuildServeService`).
    """
    serves = as_str(workload.annotations.get("ray.io/enable-serve-service")).lower() == "true"
    of_service = "RayService" in (workload.kind, workload.labels.get(ORIGIN_KIND_LABEL))
    return not serves and not of_service
