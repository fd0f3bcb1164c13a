"""A quota limits what the Ray clusters of a namespace can take."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class NamespaceQuota(Rule):
    """Refuses Ray in a namespace without a ResourceQuota, ElasticQuota or ElasticQuotaTree.

    Why: an autoscaling cluster grows until something stops it, and attackers of Ray want its
    compute.
    Fix: create a ResourceQuota in the namespace.
    """

    id: ClassVar[str] = "namespace-quota"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.is_kuberay_pod:
            return
        quotas, place = facts.namespace_state.quotas, ROOT / "metadata" / "namespace"
        name = facts.namespace
        remediation = (
            "ask an administrator for a quota: kubectl create quota ray "
            f"--namespace={name} --hard=cpu=64,memory=256Gi,pods=100"
        )
        if quotas is None:
            message = (
                f"the quotas of the namespace {name} are unknown to RayWarden, so they cannot be "
                "verified"
            )
            yield self.unknown(message, place, remediation)
        elif not quotas:
            yield self.violation(f"the namespace {name} has no quota", place, remediation)
