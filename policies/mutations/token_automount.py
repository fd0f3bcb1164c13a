"""No API token where none is needed."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.injection.api_token import has_token, needs_token
from policies.model import Facts, Mutation, sticky
from policies.ray.pod import Pod
from policies.ray.workload import Workload

_DEFAULT = {"automountServiceAccountToken": False}


class TokenAutomount(Mutation):
    """Writes `automountServiceAccountToken: false` where the author did not choose.

    Not for the head of an autoscaling cluster, whose autoscaler changes the RayCluster through the API, nor where Ray
    checks its users' tokens with the API server (`authOptions.enableK8sTokenAuth`).
    """

    id: ClassVar[str] = "token-automount"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Pods that were given a token before their turn came keep it: the field would no longer take it away."""
        if facts.only_marks(workload):
            return
        for pod in self.pods(workload):
            if needs_token(pod, workload):
                if pod.spec.get("automountServiceAccountToken") is False:
                    yield from _give_token_back(draft, pod, facts)
            elif not has_token(pod):
                before = facts.counterpart(pod)
                with draft.all_or_nothing():
                    draft.fill(pod.spec_pointer, sticky(_DEFAULT, before.spec if before else None))


def _give_token_back(draft: Draft, pod: Pod, facts: Facts) -> Iterator[str]:
    """What needed no token when it was stored has our false; what its author wrote is for its author to mend."""
    before = facts.counterpart(pod)
    if facts.before and before and not needs_token(before, facts.before):
        with draft.all_or_nothing():
            draft.set(pod.spec_pointer / "automountServiceAccountToken", True)
    else:
        yield f"the {pod.title} needs an API token: write automountServiceAccountToken: true"
