"""The restricted Pod Security Standard, as a default."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.injection.security_context import defaults, takes_defaults
from policies.model import MEMBERS, Facts, Mutation, sticky
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class PodSecurity(Mutation):
    """Sets seccomp, drops all capabilities, and forbids privilege escalation and, if safe, root.

    The author's own values stay, and the rules check them. `runAsNonRoot` is written only if the
    user is known to be numeric and not 0: by `runAsUser`, or by the image (`inject.nonRootImages`
    in the policy file).
    """

    id: ClassVar[str] = "pod-security"
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster", "Pod"})
    roles: ClassVar[frozenset[PodRole]] = MEMBERS | {PodRole.SUBMITTER}

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """Leaves a RayCluster in `marker` mode unchanged, and changes its pods instead."""
        if facts.only_marks(workload):
            return ()
        before = facts.counterpart(pod)
        values: Mapping[str, Any] = {"seccompProfile": {"type": "RuntimeDefault"}}
        values = sticky(values, before.security_context if before else None)
        draft.fill(pod.spec_pointer, "securityContext", values)
        for container in pod.containers:
            if takes_defaults(container):
                stored = before.container(container.name) if before else None
                values = defaults(pod, container, facts.injection)
                values = sticky(values, stored.security_context if stored else None)
                draft.fill(container.pointer, "securityContext", values)
        return ()
