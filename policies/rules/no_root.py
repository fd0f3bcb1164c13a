"""Ray does not run as root."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import Pointer
from policies.injection.security_context import final_contexts
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class NoRoot(Rule):
    """Refuses containers that run as root, or for which nothing says that they do not.

    RayWarden writes `runAsNonRoot: true` itself where the user is known: by `runAsUser`, or by an image listed in
    `inject.nonRootImages` of the policy file (Ray's own by default).
    Why: root in a container is root on the node as soon as anything else gives way; Ray runs whatever is submitted.
    Fix: `runAsNonRoot: true` with the numeric user of the image in `runAsUser`.
    """

    id: ClassVar[str] = "no-root"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        reported: set[Pointer] = set()
        for context in final_contexts(workload, facts):
            if context.user == 0:
                # What is said for the whole pod is said once.
                if (place := context.place("runAsUser")) not in reported:
                    reported.add(place)
                    remediation = (
                        "write runAsUser: 1000, or whatever numeric user the image has other than 0"
                    )
                    yield self.violation(
                        f"{context.holder('runAsUser')} runs as root", place, remediation
                    )
            elif context.non_root is not True:
                remediation = "write runAsNonRoot: true, and runAsUser: 1000 or whatever numeric user the image has"
                yield self.violation(
                    f"{context.title} may run as root",
                    context.pointer / "runAsNonRoot",
                    remediation,
                )
