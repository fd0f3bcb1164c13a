"""Egress to the enrollment server through KubeRay's own network policies."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.model import Facts, Mutation
from policies.network.infrastructure import egress_to_dns
from policies.ray.workload import Workload

_NETWORK_POLICY = ROOT / "spec" / "networkPolicy"
_CLOSED = ("DenyAll", "DenyAllEgress")
_RULES = "egressRules"


class EnrollEgress(Mutation):
    """Allows egress to enrollment and DNS if `spec.networkPolicy` is `DenyAll` or `DenyAllEgress`.

    KubeRay's policies allow neither. Without enrollment the pods get no certificate, and without
    DNS they do not find their head. DNS is allowed on ports 53 and 5353 to any address, because
    node-local caches answer from the node, and OpenShift's DNS listens on 5353.
    """

    id: ClassVar[str] = "enroll-egress"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Adds both rules to the egress rules of the head, the workers and every worker group."""
        policy = _closed_policy(workload)
        if policy is None:
            return ()
        for place, stored in _rule_lists(policy, facts):
            value = (place / _RULES).read(policy)
            present = value if isinstance(value, list) else []
            missing = [
                rule
                for rule in _rules(facts, is_new=stored is None)
                if rule not in present and (stored is None or rule in stored)
            ]
            draft.insert(Pointer((*_NETWORK_POLICY, *place)), _RULES, len(present), missing)
        return ()


def _closed_policy(workload: Workload | None) -> Mapping[str, Any] | None:
    """The network policy of a RayCluster if it closes egress, as KubeRay's default mode does."""
    policy = _NETWORK_POLICY.read(workload.document) if workload else None
    if isinstance(policy, dict) and policy.get("mode", "DenyAll") in _CLOSED:
        return policy
    return None


def _rule_lists(policy: Mapping[str, Any], facts: Facts) -> Iterator[tuple[Pointer, Any]]:
    """The objects that have egress rules, each with its stored list.

    The list is None if the stored object did not close egress, or if the group is new.
    """
    stored = _closed_policy(facts.before)
    for part in ("head", "worker"):
        place = Pointer((part,))
        yield place, None if stored is None else (place / _RULES).read(stored) or []
    stored_groups = {
        as_str(group.get("groupName")): group
        for _, group in dict_items(as_dict(stored).get("workerGroups"))
    }
    for index, group in dict_items(policy.get("workerGroups")):
        place = Pointer(("workerGroups", index))
        before = stored_groups.get(as_str(group.get("groupName")))
        yield place, None if before is None else before.get(_RULES) or []


def _rules(facts: Facts, *, is_new: bool) -> Iterator[dict[str, Any]]:
    """Those of this version, and for a stored list also those of earlier versions."""
    enrollment = {"protocol": "TCP", "port": facts.signer.port}
    yield {"to": [_namespace(facts.signer.namespace)], "ports": [enrollment]}
    yield egress_to_dns()
    # RayWarden 0.1.0 wrote this one. A stored cluster keeps it: KubeRay hashes its spec.
    if not is_new:
        dns = [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]
        yield {"to": [_namespace("kube-system")], "ports": dns}


def _namespace(name: str) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
