"""Ray runs as a service account of its own."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.kuberay import submitter_of
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class DedicatedServiceAccount(Rule):
    """Refuses Ray pods that run as the service account `default`.

    KubeRay creates a service account for the head of an autoscaling cluster, but not for the pod
    that submits a job.
    Why: every Ray job in the namespace has every permission that anyone grants to `default` for
    some other pod. Cloud roles are bound to service accounts as well.
    Fix: set `serviceAccountName` in the template of each group.
    """

    id: ClassVar[str] = "dedicated-service-account"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        create = f"kubectl create serviceaccount ray --namespace={facts.namespace}"
        for pod in workload.pods:
            if not _runs_as_default(pod, workload):
                continue
            remediation = f"set serviceAccountName: ray in the pod spec, and run {create}"
            if pod.role is PodRole.SUBMITTER and workload.kind == "Pod":
                remediation = (
                    "in the RayJob, add a submitterPodTemplate with serviceAccountName: ray, and "
                    f"run {create}"
                )
            yield self._default(pod.title, pod.spec_pointer / "serviceAccountName", remediation)
        if submitter_of(workload) and not _has_submitter_template(workload):
            remediation = (
                "set submissionMode: HTTPMode, or add a submitterPodTemplate with "
                f"serviceAccountName: ray and run {create}"
            )
            place = _job(workload) / "submissionMode"
            yield self._default(str(PodRole.SUBMITTER), place, remediation)

    def _default(self, title: str, pointer: Pointer, remediation: str) -> Violation:
        message = f"the {title} runs as the service account default"
        return self.violation(message, pointer, remediation)


def _runs_as_default(pod: Pod, workload: Workload) -> bool:
    account = as_str(pod.spec.get("serviceAccountName")) or as_str(pod.spec.get("serviceAccount"))
    if account:
        return account == "default"
    return not _kuberay_creates_account(pod, workload)


def _has_submitter_template(workload: Workload) -> bool:
    return any(pod.role is PodRole.SUBMITTER for pod in workload.pods)


def _job(workload: Workload) -> Pointer:
    return ROOT / "spec" / "jobTemplate" if workload.kind == "RayCronJob" else ROOT / "spec"


def _kuberay_creates_account(pod: Pod, workload: Workload) -> bool:
    """KubeRay does so for a head with an autoscaler only (`GetHeadGroupServiceAccountName`)."""
    return (
        pod.role is PodRole.HEAD and workload.cluster is not None and workload.cluster.autoscaling
    )
