"""No Kubernetes API token where nobody needs one."""

from collections.abc import Iterator
from typing import ClassVar

from policies.injection.api_token import has_token, needs_token
from policies.injection.contract import is_completed_later
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class NoTokenAutomount(Rule):
    """Refuses a token for the Kubernetes API in Ray pods that need none.

    Needed is one by the head of an autoscaling cluster, and where Ray checks its users' tokens with the API server.
    RayWarden writes `automountServiceAccountToken: false` itself where the author did not choose.
    Why: every job on Ray can read it, and may then do what the service account may.
    Fix: `automountServiceAccountToken: false` in the template.
    """

    id: ClassVar[str] = "no-token-automount"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            if not needs_token(pod, workload) and _gets_token(pod, workload, facts):
                pointer = pod.spec_pointer / "automountServiceAccountToken"
                message = (
                    f"the {pod.title} gets a token for the Kubernetes API that it does not need"
                )
                yield self.violation(
                    message, pointer, "write automountServiceAccountToken: false into its spec"
                )


def _gets_token(pod: Pod, workload: Workload, facts: Facts) -> bool:
    chosen = pod.spec.get("automountServiceAccountToken")
    if chosen is not None:
        return chosen is not False
    # KubeRay makes submitters of its own accord, where their author has nothing to write it into.
    if pod.role is PodRole.SUBMITTER or is_completed_later(pod, workload, facts):
        return False
    return has_token(pod) if workload.kind == "Pod" else True
