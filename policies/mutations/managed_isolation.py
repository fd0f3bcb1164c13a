"""NetworkPolicies of RayWarden for each new RayCluster."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.pointer import ROOT
from policies.documents.untyped import as_str
from policies.injection.contract import is_opted_out
from policies.model import Facts, Mutation
from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED, IsolationMode
from policies.ray.workload import Workload

_ANNOTATIONS = ROOT / "metadata" / "annotations"


class ManagedIsolation(Mutation):
    """Adds the annotation that asks RayWarden for NetworkPolicies to each new RayCluster.

    It adds `raywarden.io/network-isolation: managed`, which means the mode of the policy file. The
    author's own mode stays. Nothing is added where that mode is `off`, or if the cluster opts out
    where that is allowed. An update cannot remove the annotation. A cluster that was stored without
    it stays without it.
    """

    id: ClassVar[str] = "managed-isolation"
    needs_tls: ClassVar[bool] = False

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Applies only to RayClusters, also in `marker` mode: KubeRay does not hash annotations."""
        value = _annotation(workload, facts)
        if value:
            draft.fill(_ANNOTATIONS, ISOLATION_ANNOTATION, value)
        return ()


def _restored(before: Mapping[str, Any]) -> str:
    # With any value, the cluster had NetworkPolicies.
    return as_str(before[ISOLATION_ANNOTATION]) or MANAGED


def _annotation(workload: Workload, facts: Facts) -> str:
    """The value where the annotation is missing; empty if it may be."""
    if facts.before is not None:
        # Also because KubeRay replaces all annotations of a RayCluster when its RayService changes.
        before = facts.before.annotations
        return _restored(before) if ISOLATION_ANNOTATION in before else ""
    if facts.operation != "CREATE" or is_opted_out(workload, facts):
        return ""
    is_off = facts.network_isolation.of_namespace(facts.namespace).mode is IsolationMode.OFF
    return "" if is_off else MANAGED
