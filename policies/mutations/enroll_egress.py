"""A way to the signer through KubeRay's own network policies."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.model import Facts, Mutation
from policies.ray.workload import Workload

_NETWORK_POLICY = ROOT / "spec" / "networkPolicy"
_CLOSED = ("DenyAll", "DenyAllEgress")


class EnrollEgress(Mutation):
    """Lets pods reach enrollment and DNS where `spec.networkPolicy` closes egress (`DenyAll`, `DenyAllEgress`).

    KubeRay's policies let out neither; without them no pod of the cluster gets a certificate or finds its head.
    """

    id: ClassVar[str] = "enroll-egress"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Adds the rules to the head's, the workers' and every worker group's egress rules."""
        policy = _closed_policy(workload)
        if workload.kind != "RayCluster" or policy is None:
            return
        with draft.all_or_nothing():
            for place, stored in _rule_lists(policy, facts):
                pointer = Pointer((*_NETWORK_POLICY, *place))
                written = pointer.read(workload.document)
                present = written if isinstance(written, list) else []
                rules = [
                    rule
                    for rule in _rules(facts)
                    if rule not in present and (stored is None or rule in stored)
                ]
                draft.insert(pointer, len(present), rules)
        yield from ()


def _closed_policy(workload: Workload | None) -> Mapping[str, Any] | None:
    """The network policy of a RayCluster, where it closes egress (KubeRay's default mode does)."""
    policy = _NETWORK_POLICY.read(workload.document) if workload else None
    return policy if isinstance(policy, dict) and policy.get("mode", "DenyAll") in _CLOSED else None


def _rule_lists(policy: Mapping[str, Any], facts: Facts) -> Iterator[tuple[Pointer, Any]]:
    """Where egress rules are listed, each with the list as stored (None where the closing, or the group, is new)."""
    stored = _closed_policy(facts.before)
    for part in ("head", "worker"):
        place = Pointer((part, "egressRules"))
        yield place, None if stored is None else place.read(stored) or []
    listed = {
        as_str(group.get("groupName")): group
        for _, group in dict_items(as_dict(stored).get("workerGroups"))
    }
    for index, group in dict_items(policy.get("workerGroups")):
        before = listed.get(as_str(group.get("groupName")))
        yield (
            Pointer(("workerGroups", index, "egressRules")),
            None if before is None else before.get("egressRules") or [],
        )


def _rules(facts: Facts) -> Iterator[dict[str, Any]]:
    yield {
        "to": [
            {
                "namespaceSelector": {
                    "matchLabels": {"kubernetes.io/metadata.name": facts.signer.namespace}
                }
            }
        ],
        "ports": [{"protocol": "TCP", "port": facts.signer.port}],
    }
    yield {
        "to": [
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}
        ],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
