"""The restricted Pod Security Standard, where the author said nothing."""

from collections.abc import Iterator
from typing import Any, ClassVar

from policies.contract import user_of
from policies.draft import Draft
from policies.model import Facts, Mutation, set_default
from policies.pointer import ROOT, Pointer
from policies.reading import mapping
from policies.workload import ENROLL_CONTAINER, Container, Pod, Role, Workload

_SECCOMP = {"type": "RuntimeDefault"}


class PodSecurity(Mutation):
    """Sets seccomp, drops capabilities and privilege escalation, and forbids root where that cannot break the pod.

    What the author wrote stays as it is, and is for the rules to judge. `runAsNonRoot` is written only where the user
    is known to be a numeric other than 0: by `runAsUser`, or by the image (`inject.nonRootImages` of the policy file).
    """

    id: ClassVar[str] = "pod-security"
    roles: ClassVar[frozenset[Role]] = Mutation.roles | {Role.SUBMITTER}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """A RayCluster in `marker` mode is left as it is: its pods are secured one by one."""
        if facts.only_marks(workload):
            return
        for pod in self.pods(workload):
            before = facts.counterpart(pod)
            with draft.all_or_nothing():
                place = ROOT / "spec" / "securityContext" / "seccompProfile"
                set_default(draft, Pointer((*pod.pointer, *place)), dict(_SECCOMP), before and before.raw, place)
                for container in pod.containers:
                    if container.listed != "ephemeralContainers" and container.name != ENROLL_CONTAINER:
                        _secure(draft, pod, container, before, facts)
        yield from ()


def _secure(draft: Draft, pod: Pod, container: Container, before: Pod | None, facts: Facts) -> None:
    stored = before.container(container.name) if before else None
    for field, value in _defaults(pod, container, facts):
        place = Pointer(("securityContext", *field))
        set_default(draft, Pointer((*container.pointer, *place)), value, stored and stored.raw, place)


def _defaults(pod: Pod, container: Container, facts: Facts) -> Iterator[tuple[tuple[str, ...], Any]]:
    context = container.security_context
    added = mapping(context.get("capabilities")).get("add")
    # The API server refuses these together with allowPrivilegeEscalation: false; our rules name the real reason.
    administers = isinstance(added, list) and ("SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added)
    escalates = administers or context.get("privileged") is True
    if not escalates:
        yield ("allowPrivilegeEscalation",), False
        yield ("capabilities", "drop"), ["ALL"]
    user_is_open = pod.security_context.get("runAsNonRoot") is None and context.get("runAsNonRoot") is None
    if user_is_open and user_of(container, pod, facts.injection):
        yield ("runAsNonRoot",), True
