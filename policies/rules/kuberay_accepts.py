"""What KubeRay, or the API server by KubeRay's definitions, would not accept."""

from collections.abc import Iterator
from typing import ClassVar

from policies.kuberay.validation import KINDS, refusals
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class KuberayAccepts(Rule):
    """Warns of what KubeRay or the API server refuses, drops or ignores in an object of Ray.

    The rule never refuses. It knows the fields of RayCluster, RayJob, RayService and RayCronJob
    and of their pod templates in KubeRay 1.5, 1.6 and 1.7, and KubeRay's own checks, such as
    replicas that contradict each other, names that are too long, and options that need another
    version or a feature gate. At admission it makes only KubeRay's own checks, because the API
    server has already checked and dropped fields. `raywarden review` also checks the fields of the
    manifest as it is written: misspelled and misplaced ones, wrong types and missing ones. It
    checks for the KubeRay of `--kuberay` and `--kuberay-feature-gates`, by default for the newest;
    `--crds` names a folder of other CustomResourceDefinitions. Text that a template fills in, such
    as `${REPLICAS}`, is not checked.

    Why: the API server drops an unknown field without an error, unless kubectl sends it. KubeRay
    reports what it refuses only in an event, and the cluster never starts.
    Fix: do what the message says, or upgrade KubeRay.
    """

    id: ClassVar[str] = "kuberay-accepts"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM
    only_warns: ClassVar[bool] = True

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        # What KubeRay creates from another object was checked there.
        if workload.kind not in KINDS or facts.is_from_operator:
            return
        kuberay = facts.namespace_state.kuberay
        if facts.as_written:
            for refusal in facts.as_written.refusals(kuberay):
                found = self.violation(refusal.message, refusal.pointer, refusal.remediation)
                yield found._replace(as_written=True)
        for refusal in refusals(workload, kuberay):
            yield self.violation(refusal.message, refusal.pointer, refusal.remediation)
