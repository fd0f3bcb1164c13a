"""The restricted Pod Security Standard, where the author said nothing."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.injection.security_context import defaults, takes_defaults
from policies.model import Facts, Mutation, sticky
from policies.ray.pod import PodRole
from policies.ray.workload import Workload

_POD_DEFAULTS = {"seccompProfile": {"type": "RuntimeDefault"}}


class PodSecurity(Mutation):
    """Sets seccomp, drops capabilities and privilege escalation, and forbids root where that cannot break the pod.

    What the author wrote stays as it is, and is for the rules to judge. `runAsNonRoot` is written only where the user
    is known to be a numeric other than 0: by `runAsUser`, or by the image (`inject.nonRootImages` of the policy file).
    """

    id: ClassVar[str] = "pod-security"
    roles: ClassVar[frozenset[PodRole]] = Mutation.roles | {PodRole.SUBMITTER}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """A RayCluster in `marker` mode is left as it is: its pods are secured one by one."""
        if facts.only_marks(workload):
            return
        for pod in self.pods(workload):
            before = facts.counterpart(pod)
            with draft.all_or_nothing():
                written = sticky(_POD_DEFAULTS, before.security_context if before else None)
                draft.fill(pod.spec_pointer / "securityContext", written)
                for container in pod.containers:
                    if takes_defaults(container):
                        stored = before.container(container.name) if before else None
                        wanted = defaults(pod, container, facts.injection)
                        written = sticky(wanted, stored.security_context if stored else None)
                        draft.fill(container.pointer / "securityContext", written)
        yield from ()
