"""A namespace with Ray in it cannot take the whole cluster."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class NamespaceQuota(Rule):
    """Refuses Ray in a namespace that no ResourceQuota, ElasticQuota or ElasticQuotaTree is over.

    Why: an autoscaling cluster grows until something stops it, and stolen compute is what attackers of Ray are after.
    Fix: a ResourceQuota in the namespace.
    """

    id: ClassVar[str] = "namespace-quota"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.is_kuberay_pod:
            return
        quotas, place = facts.namespace_state.quotas, ROOT / "metadata" / "namespace"
        name = facts.namespace
        remediation = f"ask for one: kubectl create quota ray --namespace={name} --hard=cpu=64,memory=256Gi,pods=100"
        if quotas is None:
            yield self.unknown(
                f"whether a quota is over the namespace {name} is not known here",
                place,
                remediation,
            )
        elif not quotas:
            yield self.violation(f"no quota is over the namespace {name}", place, remediation)
