"""NetworkPolicies leave open what Ray, KubeRay and RayWarden need."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, ClassVar

from policies.cluster.pod_isolation import PlannedIsolation
from policies.cluster.ray_backends import RayBackends
from policies.cluster.related_object import RelatedObject
from policies.cluster.routes import backends
from policies.cluster.state import MAX_COMPARISONS, LiveCluster, LiveService
from policies.documents.flow import as_flow
from policies.documents.metadata import controller_of
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import clipped
from policies.injection.network import (
    infrastructure,
    isolation_of_live,
    planned_isolation,
    policies_around,
)
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.network.isolation import ALLOW_FROM_ANNOTATION, ClusterIsolation, IsolationMode
from policies.network.needs import CLIENTS, Closed, closed_needs, count_comparisons
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import common
from policies.network.ray_ports import DASHBOARD_PORT
from policies.network.ray_traffic import ClusterTraffic, only
from policies.network.reachability import Policies
from policies.network.written import PolicyNames
from policies.ray.kuberay import cluster_of
from policies.ray.membership import RAY_GROUP
from policies.ray.workload import Workload

# More findings do not help the reader. A cluster of many groups can have thousands.
_MAX_FINDINGS = 20
_PUBLIC_TYPES = ("LoadBalancer", "NodePort")
_TOO_MANY = "these pods have too many NetworkPolicies to check what they close"


class NeededTraffic(Rule):
    """Warns of NetworkPolicies that close traffic without which Ray does not work.

    The rule never refuses. It looks at the NetworkPolicies of the namespace together with those
    that RayWarden writes, for each RayCluster, RayJob and RayService, and for each NetworkPolicy
    that selects pods of a RayCluster. Needed are DNS, RayWarden's enrollment, all of Ray's ports
    between the members of a cluster, the API server for the autoscaler, the Redis of GCS, KubeRay's
    operator and submitter at the dashboard, Prometheus where the author declares metrics, and the
    clients of Serve. Peers that RayWarden cannot know, such as addresses, count as open. It also
    warns of an Ingress, route or Service to a RayCluster whose NetworkPolicies let no client in.
    Why: a policy that closes too much stops a cluster from starting, without any message in Ray.
    Fix: add the rule that the message names to the NetworkPolicy.
    """

    id: ClassVar[str] = "needed-traffic"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM
    only_warns: ClassVar[bool] = True

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.cluster is None:
            return
        planned = planned_isolation(workload, facts)
        exposed = list(_ways_in(workload)) if planned.is_written else []
        if not exposed and not _may_close(planned, workload.name, facts):
            return
        made = cluster_of(workload)
        traffic = ClusterTraffic.of(Workload("RayCluster", made) if made else workload)
        policies = policies_around(traffic, planned.raywarden, facts)
        place = ROOT / "metadata" / "namespace"
        if count_comparisons(traffic, policies) > MAX_COMPARISONS:
            yield self.unknown(_TOO_MANY, place, "delete NetworkPolicies that are not needed")
            return
        needs = closed_needs(traffic, Policies(policies), infrastructure(facts))
        for closed in islice(needs, _MAX_FINDINGS):
            message = (
                f"NetworkPolicies close {closed.need.title} for the {closed.pods}: "
                f"{closed.need.consequence}"
            )
            remediation = _fix(closed, workload, traffic, planned.raywarden)
            yield self.violation(message, place, remediation)
        for pointer in exposed:
            if not _lets_clients_in(traffic, policies, (DASHBOARD_PORT,)):
                message = (
                    "the head exposes its dashboard, but NetworkPolicies let no client reach it"
                )
                remediation = _allow(workload, DASHBOARD_PORT, planned.raywarden)
                yield self.violation(message, pointer, remediation)

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        clusters = facts.namespace_state.ray_clusters
        if not clusters:
            return
        if related_object.kind == "NetworkPolicy":
            policy = NetworkPolicy(related_object.document)
            yield from islice(self._check_policy(policy, facts), _MAX_FINDINGS)
        elif related_object.kind == "Service":
            yield from self._check_service(related_object, facts)
        else:
            yield from islice(self._check_route(related_object, facts), _MAX_FINDINGS)

    def _check_policy(self, policy: NetworkPolicy, facts: Facts) -> Iterator[Violation]:
        """What the policy closes for live RayClusters, beside the other policies."""
        budget = MAX_COMPARISONS
        for cluster in (facts.namespace_state.ray_clusters or {}).values():
            traffic = cluster.traffic
            budget -= 1 + len(cluster.pod_labels)
            if budget < 0:
                yield self.unknown(_TOO_MANY, ROOT / "spec", "select fewer pods")
                return
            if traffic is None or not any(map(policy.selects, cluster.pod_labels)):
                continue
            isolation = isolation_of_live(cluster, facts)
            if isolation.mode is not IsolationMode.OFF and _is_raywardens(policy.name, traffic):
                continue
            others = policies_around(traffic, isolation, facts)
            policies = [policy, *(other for other in others if other.name != policy.name)]
            budget -= count_comparisons(traffic, policies)
            if budget < 0:
                yield self.unknown(_TOO_MANY, ROOT / "spec", "select fewer pods")
                return
            needs = closed_needs(traffic, Policies(policies), infrastructure(facts))
            for closed in needs:
                if policy.name in closed.policies:
                    yield self._of_policy(closed, cluster, policy)

    def _of_policy(self, closed: Closed, cluster: LiveCluster, policy: NetworkPolicy) -> Violation:
        need = closed.need
        message = (
            f"this NetworkPolicy closes {need.title} for the {closed.pods} of the RayCluster "
            f"{clipped(cluster.name)}: {need.consequence}"
        )
        return self.violation(message, need.direction.rules, _add(closed, policy.name))

    def _check_service(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        owner = controller_of(related_object.document)
        if owner and owner.group == RAY_GROUP:
            return
        service = LiveService.of(related_object.document)
        cluster = RayBackends(facts.namespace_state, facts.namespace, ()).cluster_of(service)
        if cluster:
            place = ROOT / "spec" / "selector"
            yield from self._check_way_in("Service", cluster, service.ports.values(), place, facts)

    def _check_route(self, related_object: RelatedObject, facts: Facts) -> Iterator[Violation]:
        ray = RayBackends(facts.namespace_state, facts.namespace, ())
        for backend in backends(related_object):
            cluster = ray.cluster_behind(backend)
            if cluster:
                ports, kind = ray.ports_behind(backend), related_object.kind
                yield from self._check_way_in(kind, cluster, ports, backend.pointer, facts)

    def _check_way_in(
        self, kind: str, cluster: LiveCluster, ports: Iterable[Any], place: Pointer, facts: Facts
    ) -> Iterator[Violation]:
        """Whether the clients of a Service or route get through to a RayCluster."""
        isolation, traffic = isolation_of_live(cluster, facts), cluster.traffic
        if isolation.mode is IsolationMode.OFF or traffic is None:
            return
        policies = policies_around(traffic, isolation, facts)
        if count_comparisons(traffic, policies) > MAX_COMPARISONS:
            return
        numbers = sorted({number for port in ports for number in _numbers(port, traffic)})
        if not numbers or _lets_clients_in(traffic, policies, numbers):
            return
        message = (
            f"this {kind} leads to ports of the RayCluster {clipped(cluster.name)} that "
            "NetworkPolicies close for every client"
        )
        owner = f"RayCluster {clipped(cluster.name)}"
        yield self.violation(message, place, _let_in(owner, numbers[0], isolation))


def _may_close(planned: PlannedIsolation, cluster: str, facts: Facts) -> bool:
    """True if policies can close something that a cluster needs.

    What RayWarden writes lets in all that is needed, except clients in modes stricter than members.
    """
    if planned.raywarden.mode > IsolationMode.MEMBERS:
        return True
    others = planned.others(cluster, facts.namespace_state)
    return any(policy.isolates(Direction.EGRESS) or not planned.is_written for policy in others)


def _ways_in(workload: Workload) -> Iterator[Pointer]:
    """The places where a cluster asks for a way to its dashboard from outside."""
    head = workload.cluster.head if workload.cluster else None
    if head and head.raw.get("enableIngress") is True:
        yield head.pointer / "enableIngress"
    if head and head.raw.get("serviceType") in _PUBLIC_TYPES:
        yield head.pointer / "serviceType"


def _lets_clients_in(
    traffic: ClusterTraffic, policies: Iterable[NetworkPolicy], ports: Iterable[int]
) -> bool:
    """True if someone other than members may reach one of these ports of some pods."""
    model = Policies(list(policies))
    for group in traffic.groups:
        reach = model.reach(group.party, Direction.INGRESS, CLIENTS).possibly
        if any(common(reach, only(port)) for port in ports):
            return True
    return False


def _numbers(port: Any, traffic: ClusterTraffic) -> Iterator[int]:
    """The numbers of a port of the cluster's pods that a Service names."""
    if isinstance(port, int):
        yield port
        return
    for group in traffic.groups:
        yield from (group.party.port_names or {}).get(str(port), ())


def _is_raywardens(name: str, traffic: ClusterTraffic) -> bool:
    own = PolicyNames.of(traffic.name)
    return name in (own.pods, own.head)


def _fix(
    closed: Closed, workload: Workload, traffic: ClusterTraffic, isolation: ClusterIsolation
) -> str:
    """What to add, and where; RayWarden's own policies follow the policy file."""
    others = [name for name in closed.policies if not _is_raywardens(name, traffic)]
    if others:
        return _add(closed, others[0])
    return _allow(workload, closed.ports[0].start, isolation)


def _add(closed: Closed, name: str) -> str:
    where = closed.need.direction.rules_field
    return f"add to {where} of the NetworkPolicy {name}: {as_flow(closed.need.rule)}"


def _allow(workload: Workload, port: int, isolation: ClusterIsolation) -> str:
    """How the author of an object lets clients in through RayWarden's policies."""
    # KubeRay copies the annotations of a RayJob and a RayService, and not those of a RayCronJob.
    if workload.kind == "RayCronJob":
        isolation = replace(isolation, authors_may_allow=False)
    return _let_in(f"{workload.kind} {clipped(workload.name)}", port, isolation)


def _let_in(owner: str, port: int, isolation: ClusterIsolation) -> str:
    """How to let clients in through RayWarden's policies; `owner` can carry the annotation."""
    entry = f"CLIENT-NAMESPACE:{port} (or CLIENT-CIDR:{port})"
    if isolation.authors_may_allow:
        return f"annotate the {owner} with {ALLOW_FROM_ANNOTATION}: {entry}"
    return f"ask the administrator to add {entry} to networkIsolation.allowFrom in the policy file"
