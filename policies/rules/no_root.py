"""Ray does not run as root."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import Pointer
from policies.injection.security_context import effective_contexts
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

_FIX_ROOT = "set runAsUser: 1000, or another numeric user of the image that is not 0"
_FIX_UNKNOWN = "set runAsNonRoot: true, and runAsUser: 1000 or the numeric user of the image"


class NoRoot(Rule):
    """Refuses containers that run as root or may run as root.

    RayWarden sets `runAsNonRoot: true` itself if it knows the user: from `runAsUser`, or from the
    images listed in `inject.nonRootImages` of the policy file (Ray's own by default).
    Why: Ray runs any code that is submitted to it. If that code escapes from a container that runs
    as root, it is root on the node.
    Fix: set `runAsNonRoot: true`, and `runAsUser` to the numeric user of the image.
    """

    id: ClassVar[str] = "no-root"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        reported: set[Pointer] = set()
        for context in effective_contexts(workload, facts):
            if context.user == 0:
                # Containers that inherit the pod's field share a place, which is reported once.
                place = context.place("runAsUser")
                if place not in reported:
                    reported.add(place)
                    message = f"{context.holder('runAsUser')} runs as root"
                    yield self.violation(message, place, _FIX_ROOT)
            elif context.non_root is not True:
                place = context.pointer / "runAsNonRoot"
                yield self.violation(f"{context.title} may run as root", place, _FIX_UNKNOWN)
