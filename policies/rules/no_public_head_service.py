"""The head and Serve services that KubeRay creates are not public."""

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.clouds import CLOUD_NAMES, CloudName
from policies.cluster.exposure import RAY_PORTS, Exposure, TypeOfService, exposures
from policies.cluster.load_balancers import Restriction, restriction
from policies.cluster.serve import SERVE_SERVICE, is_serve_alone, serve_targets
from policies.cluster.state import ports_of
from policies.documents.metadata import annotations_of
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.workload import ClusterSpec, Workload

_RESTRICT = (
    "a LoadBalancer needs headService.spec.loadBalancerSourceRanges, or your cloud's annotation "
    "for an internal one in {}"
)
_GATEWAY = Pointer(("spec", "upgradeStrategy", "clusterUpgradeOptions", "gatewayClassName"))


class NoPublicHeadService(Rule):
    """Refuses public head and Serve services: LoadBalancer, NodePort and externalIPs.

    A LoadBalancer is accepted with a cloud's annotation for an internal load balancer, or with
    `loadBalancerSourceRanges`. KubeRay copies `headServiceAnnotations` for a RayCluster only, so in
    a RayJob the annotation must be in `headService.metadata`. A public Serve service that leads to
    Ray Serve alone (ports 8000 and 9000), the interface of an application, is refused by the
    profile `restricted` only. An exemption from this rule needs an exemption from
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
            yield from self._check_head(workload, workload.cluster)
        if workload.kind == "RayService":
            yield from self._check_serve(workload)

    def _check_head(self, workload: Workload, cluster: ClusterSpec) -> Iterator[Violation]:
        head = cluster.head
        service = as_dict(head.raw.get("headService"))
        spec, annotations = as_dict(service.get("spec")), annotations_of(service)
        place = head.pointer / "headService" / "spec"
        service_type, own, restrict = head.raw.get("serviceType"), Restriction(False), ""
        if not _serves(workload):
            where = "headService.metadata.annotations"
            if not _is_job(workload):
                where = "headServiceAnnotations"
                annotations = {**annotations, **as_dict(cluster.spec.get(where))}
            restrict = _RESTRICT.format(where)
            if service_type == "LoadBalancer":
                own = restriction(spec, annotations, self.clouds)
        by_type = TypeOfService(
            service_type,
            spec,
            head.pointer / "serviceType",
            place,
            own,
            restrict,
            as_written=True,
        )
        yield from self._report("the head service", by_type.exposures(), self.profile)
        found = exposures(spec, annotations, place, self.clouds, as_written=True)
        yield from self._report("the head service", found, self.profile)

    def _check_serve(self, workload: Workload) -> Iterator[Violation]:
        level = self.profile
        if is_serve_alone(serve_targets(workload), ports_of(workload).union(RAY_PORTS)):
            # As `no-open-ingress` judges an Ingress to Serve.
            level = Profile.RESTRICTED
        service = as_dict(SERVE_SERVICE.read(workload.document))
        spec, place = as_dict(service.get("spec")), SERVE_SERVICE / "spec"
        found = exposures(spec, annotations_of(service), place, self.clouds, as_written=True)
        yield from self._report("the Serve service", found, level)
        name = as_str(_GATEWAY.read(workload.document))
        if name and name not in self.allowed_gateway_classes:
            yield self.violation(
                f"upgrades expose Serve through the Gateway class {name}",
                _GATEWAY,
                "set upgradeStrategy: {type: NewCluster}, or ask the administrator to list the "
                "class in allowedGatewayClasses",
                profile=level,
            )

    def _report(self, title: str, found: Iterable[Exposure], level: Profile) -> Iterator[Violation]:
        for exposure in found:
            yield self.violation(
                f"{title} {exposure.problem}",
                exposure.pointer,
                exposure.remediation,
                profile=level,
                advisory=exposure.advisory,
            )


def _origins(workload: Workload) -> tuple[str, str]:
    return workload.kind, as_str(workload.labels.get(ORIGIN_KIND_LABEL))


def _serves(workload: Workload) -> bool:
    """KubeRay creates a Serve service, which takes the head's serviceType but no annotations.

    Source: `BuildServeService` (KubeRay 1.7), for a RayService and for a RayCluster that asks for
    one.
    """
    if "RayService" in _origins(workload):
        return True
    return as_str(workload.annotations.get("ray.io/enable-serve-service")).lower() == "true"


def _is_job(workload: Workload) -> bool:
    """KubeRay creates a head service for the job, without `headServiceAnnotations`.

    It builds the service from the spec of the RayCluster (`BuildHeadServiceForRayJob`, KubeRay
    1.7).
    """
    return not {"RayJob", "RayCronJob"}.isdisjoint(_origins(workload))
