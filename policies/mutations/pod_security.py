"""The restricted Pod Security Standard, as a default."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.injection.security_context import defaults, takes_defaults
from policies.model import Facts, Mutation, sticky
from policies.ray.pod import PodRole
from policies.ray.workload import Workload

_POD_DEFAULTS = {"seccompProfile": {"type": "RuntimeDefault"}}


class PodSecurity(Mutation):
    """Sets seccomp, drops all capabilities, and forbids privilege escalation and, if safe, root.

    The author's own values stay, and the rules check them. `runAsNonRoot` is written only if the
    user is known to be numeric and not 0: by `runAsUser`, or by the image (`inject.nonRootImages`
    in the policy file).
    """

    id: ClassVar[str] = "pod-security"
    roles: ClassVar[frozenset[PodRole]] = Mutation.roles | {PodRole.SUBMITTER}

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Leaves a RayCluster in `marker` mode unchanged, and changes its pods instead."""
        if facts.only_marks(workload):
            return
        for pod in self.pods(workload):
            before = facts.counterpart(pod)
            with draft.all_or_nothing():
                values = sticky(_POD_DEFAULTS, before.security_context if before else None)
                draft.fill(pod.spec_pointer / "securityContext", values)
                for container in pod.containers:
                    if takes_defaults(container):
                        stored = before.container(container.name) if before else None
                        values = defaults(pod, container, facts.injection)
                        values = sticky(values, stored.security_context if stored else None)
                        draft.fill(container.pointer / "securityContext", values)
        yield from ()
