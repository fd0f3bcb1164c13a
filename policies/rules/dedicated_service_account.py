"""Ray has an identity of its own."""

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

    The head of an autoscaling cluster gets one of its own from KubeRay; the pod that submits a job does not.
    Why: what anybody grants to `default` for a pod of theirs, every Ray job of the namespace has, and cloud roles are
    bound to service accounts.
    Fix: `serviceAccountName` in the template of each group.
    """

    id: ClassVar[str] = "dedicated-service-account"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            account = as_str(pod.spec.get("serviceAccountName")) or as_str(
                pod.spec.get("serviceAccount")
            )
            if account not in ("", "default") or (
                not account and _kuberay_makes_one(pod, workload)
            ):
                continue
            remediation = "write serviceAccountName: ray into its pod's spec"
            if pod.role is PodRole.SUBMITTER and workload.kind == "Pod":
                remediation = (
                    "write a submitterPodTemplate with serviceAccountName: ray into its RayJob"
                )
            remediation += f", and kubectl create serviceaccount ray --namespace={facts.namespace}"
            yield self._default(pod.title, pod.spec_pointer / "serviceAccountName", remediation)
        if submitter_of(workload) and not any(
            pod.role is PodRole.SUBMITTER for pod in workload.pods
        ):
            account = f"kubectl create serviceaccount ray --namespace={facts.namespace}"
            remediation = f"write submissionMode: HTTPMode, or a submitterPodTemplate with serviceAccountName: ray, and {account}"
            yield self._default(
                str(PodRole.SUBMITTER), _job(workload) / "submissionMode", remediation
            )

    def _default(self, title: str, pointer: Pointer, remediation: str) -> Violation:
        return self.violation(
            f"the {title} runs as the service account default", pointer, remediation
        )


def _job(workload: Workload) -> Pointer:
    return ROOT / "spec" / "jobTemplate" if workload.kind == "RayCronJob" else ROOT / "spec"


def _kuberay_makes_one(pod: Pod, workload: Workload) -> bool:
    """For the head alone, so that its autoscaler may change the RayCluster (`GetHeadGroupServiceAccountName`)."""
    return (
        pod.role is PodRole.HEAD and workload.cluster is not None and workload.cluster.autoscaling
    )
