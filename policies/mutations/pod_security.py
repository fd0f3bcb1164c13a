"""The restricted Pod Security Standard, where the author said nothing."""

from collections.abc import Iterator
from typing import Any, ClassVar

from policies.contract import user_of
from policies.draft import Draft
from policies.model import Facts, Mutation, sticky
from policies.pod import ENROLL_CONTAINER, Container, Pod, Role
from policies.reading import mapping
from policies.workload import Workload

_POD_DEFAULTS = {"seccompProfile": {"type": "RuntimeDefault"}}


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
                defaults = sticky(_POD_DEFAULTS, before.security_context if before else None)
                draft.fill(pod.spec_pointer / "securityContext", defaults)
                for container in pod.containers:
                    if container.listed != "ephemeralContainers" and container.name != ENROLL_CONTAINER:
                        stored = before.container(container.name) if before else None
                        defaults = sticky(_defaults(pod, container, facts), stored.security_context if stored else None)
                        draft.fill(container.pointer / "securityContext", defaults)
        yield from ()


def _defaults(pod: Pod, container: Container, facts: Facts) -> dict[str, Any]:
    defaults: dict[str, Any] = {}
    context = container.security_context
    added = mapping(context.get("capabilities")).get("add")
    # The API server refuses these together with allowPrivilegeEscalation: false; our rules name the real reason.
    administers = isinstance(added, list) and ("SYS_ADMIN" in added or "CAP_SYS_ADMIN" in added)
    if not administers and context.get("privileged") is not True:
        defaults["allowPrivilegeEscalation"] = False
        defaults["capabilities"] = {"drop": ["ALL"]}
    user_is_open = pod.security_context.get("runAsNonRoot") is None and context.get("runAsNonRoot") is None
    if user_is_open and user_of(container, pod, facts.injection):
        defaults["runAsNonRoot"] = True
    return defaults
