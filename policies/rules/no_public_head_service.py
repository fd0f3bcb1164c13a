"""Ray's head and Serve are not on the internet."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.exposure import exposures, is_restricted, open_by_type
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import ORIGIN_KIND_LABEL, ClusterSpec, Workload

_RESTRICT = (
    "a LoadBalancer needs headService.spec.loadBalancerSourceRanges, or your cloud's annotation for an internal one in "
    "headServiceAnnotations"
)


class NoPublicHeadService(Rule):
    """Refuses LoadBalancer, NodePort and externalIPs for the head and Serve services KubeRay makes.

    A LoadBalancer passes with a cloud's annotation for an internal one, or with `loadBalancerSourceRanges`. An
    exemption from this goes with one from `no-public-ray-service`, which judges the Service that KubeRay then makes.
    Why: GCS (6379), dashboard (8265) and Ray Client (10001) run code for whoever reaches them; ShadowRay
    (CVE-2023-48022) was thousands of clusters exposed this way.
    Fix: serviceType ClusterIP; reach the dashboard by `kubectl port-forward`.
    """

    id: ClassVar[str] = "no-public-head-service"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.CRITICAL

    clouds: tuple[CloudName, ...] = Field(
        CLOUD_NAMES,
        description="clouds whose annotations count for a load balancer; name yours alone",
    )
    allowed_gateway_classes: tuple[str, ...] = Field(
        (),
        description="Gateway classes that RayService upgrades may use, known to be internal or to authenticate",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.cluster:
            yield from self._check_head(workload.cluster, _annotations_reach(workload))
        if workload.kind != "RayService":
            return
        serve = ROOT / "spec" / "serveService"
        service = as_dict(serve.read(workload.document))
        yield from self._check_service(service, serve, "the Serve service", _annotations(service))
        gateway = Pointer(("spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName"))
        name = as_str(gateway.read(workload.document))
        if name and name not in self.allowed_gateway_classes:
            message = f"upgrades publish Serve through the Gateway class {name}"
            remediation = "write upgradeStrategy: {type: NewCluster} alone, or ask the administrator for allowedGatewayClasses"
            yield self.violation(message, gateway, remediation)

    def _check_head(self, cluster: ClusterSpec, annotated: bool) -> Iterator[Violation]:
        head = cluster.head
        service = as_dict(head.raw.get("headService"))
        annotations = as_dict(cluster.spec.get("headServiceAnnotations")) if annotated else {}
        all_annotations = {**_annotations(service), **annotations}
        restricted = annotated and is_restricted(
            as_dict(service.get("spec")), all_annotations, self.clouds
        )
        restrict = _RESTRICT if annotated else ""
        if found := open_by_type(head.raw.get("serviceType"), restricted, "serviceType", restrict):
            how, remediation = found
            yield self.violation(
                f"the head service {how}", head.pointer / "serviceType", remediation
            )
        yield from self._check_service(
            service, head.pointer / "headService", "the head service", all_annotations
        )

    def _check_service(
        self,
        service: Mapping[str, Any],
        pointer: Pointer,
        title: str,
        annotations: Mapping[str, Any],
    ) -> Iterator[Violation]:
        for how, place, remediation in exposures(
            as_dict(service.get("spec")), annotations, pointer / "spec", self.clouds
        ):
            yield self.violation(f"{title} {how}", place, remediation)


def _annotations(service: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_dict(as_dict(service.get("metadata")).get("annotations"))


def _annotations_reach(workload: Workload) -> bool:
    """KubeRay writes `headServiceAnnotations` only on the head service it makes for a RayCluster of its own right.

    The services of a RayService, and the Serve service of a RayCluster that asks for one, take over the head's
    serviceType and none of its annotations (`BuildHeadServiceForRayService`, `BuildServeService`).
    """
    serves = as_str(workload.annotations.get("ray.io/enable-serve-service")).lower() == "true"
    of_service = "RayService" in (workload.kind, workload.labels.get(ORIGIN_KIND_LABEL))
    return not serves and not of_service
