"""A quota limits what the Ray clusters of a namespace can take."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import ROOT
from policies.documents.untyped import clipped
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.accelerators import NOT_DEVICES, accelerators_in
from policies.ray.workload import Workload

# No node has more; each of them is named in every message.
_MAX_ACCELERATORS = 8


class NamespaceQuota(Rule):
    """Refuses Ray in a namespace whose quotas do not limit memory and the GPUs that Ray asks for.

    A quota is a ResourceQuota, an ElasticQuota or an ElasticQuotaTree. A ResourceQuota with scopes
    counts only if they include all Ray pods (`NotBestEffort`, `NotTerminating`).
    Why: an autoscaling cluster grows until something stops it, and attackers of Ray want its
    compute.
    Fix: create a ResourceQuota in the namespace, with `memory` and `requests.nvidia.com/gpu`.
    """

    id: ClassVar[str] = "namespace-quota"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        if workload.is_kuberay_pod:
            return
        quotas, place = facts.namespace_state.quotas, ROOT / "metadata" / "namespace"
        name, accelerators = facts.namespace, _accelerators(workload)
        gpus = "".join(f",requests.{resource}=8" for resource in accelerators)
        remediation = (
            "ask an administrator for a quota: kubectl create quota ray "
            f"--namespace={name} --hard=cpu=64,memory=256Gi,pods=100{gpus}"
        )
        if quotas is None:
            message = (
                f"the quotas of the namespace {name} are unknown to RayWarden, so they cannot be "
                "verified"
            )
            yield self.unknown(message, place, remediation)
            return
        if not quotas:
            yield self.violation(f"the namespace {name} has no quota", place, remediation)
            return
        limited = frozenset[str]().union(*(quota.resources for quota in quotas))
        for resource in ("memory", *accelerators):
            if resource not in limited:
                message = f"no quota of the namespace {name} limits {resource}"
                yield self.violation(message, place, remediation)


def _accelerators(workload: Workload) -> list[str]:
    """The GPUs and similar devices that the containers ask for, in a fixed order."""
    names = set[str]()
    # Most containers ask for nothing else.
    if workload.summary.resources <= NOT_DEVICES:
        return []
    for container in workload.containers:
        resources = container.raw.get("resources")
        if resources:
            names.update(accelerators_in(resources))
    return sorted(map(clipped, names))[:_MAX_ACCELERATORS]
