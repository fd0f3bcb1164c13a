"""What NetworkPolicies do to each RayCluster: who writes them, what they open, what they close."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from policies.configured import NetworkIsolation
from policies.documents.metadata import annotations_of, metadata_of, name_of, namespace_of
from policies.documents.untyped import as_dict
from policies.injection.contract import TlsBy, tls_by
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation, IsolationMode, kuberay_closes
from policies.network.needs import Closed, closed_needs
from policies.network.openness import opening_rules
from policies.network.policy import Direction, NetworkPolicy
from policies.network.ports import missing_from
from policies.network.ray_traffic import ClusterTraffic, GroupTraffic
from policies.network.reachability import Policies
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from webhook.check.facts import Object, Objects

# Every policy of a namespace is compared with every group of its clusters. Anyone with rights in a
# namespace can create policies; real namespaces have a few.
MAX_POLICIES = 200
_COMPARED = ("podSelector", "policyTypes", "ingress", "egress")
# Where Ray chooses the ports of workers by default. Opening a few of these reaches other software.
_WORKER_PORTS = (range(10002, 20000),)


@dataclass(frozen=True, slots=True)
class JudgedCluster:
    """A RayCluster and its NetworkPolicies.

    `mode` is OFF if RayWarden writes no policies for it. `missing` and `changed` are the names of
    RayWarden's policies that do not exist, or are not as RayWarden writes them. `opened_by` are the
    policies that let everyone reach Ray's own ports; it is None if no policy isolates the pods.
    `closed` is what the pods need and cannot get.
    """

    namespace: str
    name: str
    traffic: ClusterTraffic
    mode: IsolationMode
    has_kuberay_policy: bool = False
    missing: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    opened_by: tuple[str, ...] | None = ()
    closed: tuple[Closed, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def is_open(self) -> bool:
        """True if strangers can reach Ray's own ports."""
        return self.opened_by is None or bool(self.opened_by)


class NamespacePolicies:
    """The NetworkPolicies of one namespace, as objects and as what they do."""

    def __init__(self, documents: Objects) -> None:
        self.specs = {name_of(document): as_dict(document.get("spec")) for document in documents}
        self.views = tuple(NetworkPolicy(document) for document in documents)
        self.policies = Policies(self.views)

    def opened_to_strangers(self, traffic: ClusterTraffic) -> tuple[str, ...] | None:
        """The policies that let everyone reach Ray's own ports; None if one group has none."""
        names: set[str] = set()
        for group in traffic.groups:
            isolating = self.policies.isolating(group.party, Direction.INGRESS)
            if not isolating:
                return None
            opened = [(policy.name, rule) for policy in isolating for rule in policy.open]
            opening = opening_rules((rule for _, rule in opened), _own_ports(group))
            names |= {name for name, rule in opened if rule in opening}
        return tuple(sorted(names))


NO_POLICIES = NamespacePolicies(())


def by_namespace(documents: Objects) -> Mapping[str, NamespacePolicies]:
    """The NetworkPolicies by namespace; a namespace with too many of them is missing."""
    grouped: dict[str, list[Object]] = defaultdict(list)
    for document in documents:
        grouped[namespace_of(document)].append(document)
    return {
        namespace: NamespacePolicies(same)
        for namespace, same in grouped.items()
        if len(same) <= MAX_POLICIES
    }


@dataclass(frozen=True, slots=True)
class ClusterJudge:
    """Judges RayClusters by the policies of their namespaces.

    `isolation` is None if RayWarden writes no policies. `operators` are KubeRay's namespaces, each
    with the namespaces that it works in; none of them means all.
    """

    isolation: NetworkIsolation | None
    infrastructure: Infrastructure
    operators: Sequence[tuple[str, frozenset[str]]]

    def judge(self, document: Object, policies: NamespacePolicies) -> JudgedCluster:
        """What the policies of its namespace do to a RayCluster."""
        workload = Workload("RayCluster", document)
        traffic = ClusterTraffic.of(workload)
        infrastructure = self._around(namespace_of(document))
        isolation = self.isolation_of(document)
        needs_signer = tls_by(workload) is TlsBy.RAYWARDEN
        needed = infrastructure if needs_signer else replace(infrastructure, signer=None)
        written = self._written(traffic, isolation, infrastructure)
        return JudgedCluster(
            namespace=namespace_of(document),
            name=name_of(document),
            traffic=traffic,
            mode=isolation.mode,
            has_kuberay_policy=has_kuberay_policy(document),
            missing=tuple(name for name in written if name not in policies.specs),
            changed=tuple(
                name
                for name, spec in written.items()
                if name in policies.specs and _differs(policies.specs[name], spec)
            ),
            opened_by=policies.opened_to_strangers(traffic),
            closed=tuple(closed_needs(traffic, policies.policies, needed)),
        )

    def isolation_of(self, document: Object) -> ClusterIsolation:
        """How RayWarden isolates a RayCluster; OFF if it writes no policies for it."""
        if self.isolation is None or has_kuberay_policy(document):
            return ClusterIsolation(IsolationMode.OFF)
        of_namespace = self.isolation.of_namespace(namespace_of(document))
        return of_namespace.of_cluster(annotations_of(document))

    def _around(self, namespace: str) -> Infrastructure:
        """What clusters of a namespace work with: the operators that work there."""
        names = {name for name, scope in self.operators if not scope or namespace in scope}
        return replace(self.infrastructure, operators=tuple(sorted(names)))

    @staticmethod
    def _written(
        traffic: ClusterTraffic, isolation: ClusterIsolation, infrastructure: Infrastructure
    ) -> Mapping[str, Mapping[str, Any]]:
        """The specs that RayWarden writes, by the names of the policies."""
        names, members = PolicyNames.of(traffic.name), Members.of(traffic.name)
        written = policies_for(traffic, isolation, infrastructure, names, members)
        return {policy.name: policy.spec for policy in written}


def has_kuberay_policy(document: Object) -> bool:
    """True if KubeRay writes the NetworkPolicies of a RayCluster; then RayWarden writes none."""
    return kuberay_closes(as_dict(document.get("spec")).get("networkPolicy"))


def living(documents: Objects) -> Iterator[Object]:
    """The objects that are not being deleted."""
    return (item for item in documents if "deletionTimestamp" not in metadata_of(item))


def _own_ports(group: GroupTraffic) -> list[int]:
    """Ray's own ports of a group, as far as they are fixed."""
    fixed = missing_from(_WORKER_PORTS, group.own)
    return [number for span in fixed for number in span]


def _differs(stored: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Whether a stored policy does something else than the written one."""
    return any(
        _comparable(stored.get(name)) != _comparable(written.get(name)) for name in _COMPARED
    )


def _comparable(value: Any) -> Any:
    """The value of a field, where the order of rules and of policy types means nothing."""
    if isinstance(value, list):
        return sorted(orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in value)
    return value or []
