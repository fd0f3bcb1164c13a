"""No Kubernetes API token in pods that do not need it."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.injection.api_token import has_token, needs_token
from policies.injection.token_choice import Auth, token_choice
from policies.model import Facts, Mutation, sticky
from policies.ray.pod import Pod
from policies.ray.workload import Workload

_DEFAULT = {"automountServiceAccountToken": False}


class TokenAutomount(Mutation):
    """Writes `automountServiceAccountToken: false` if the author did not choose.

    Two kinds of pods keep their token: the head of an autoscaling cluster, whose autoscaler changes
    the RayCluster through the API, and pods whose Ray checks its users' tokens with the API server
    (`authOptions.enableK8sTokenAuth`).
    """

    id: ClassVar[str] = "token-automount"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Skips pods that already mount a token: the field would no longer remove it."""
        if facts.only_marks(workload) or _gets_kubernetes_tokens(workload, facts):
            return
        for pod in self.pods(workload):
            if needs_token(pod, workload):
                if pod.spec.get("automountServiceAccountToken") is False:
                    yield from _restore_token(draft, pod, facts)
            elif not has_token(pod):
                before = facts.counterpart(pod)
                with draft.all_or_nothing():
                    draft.fill(pod.spec_pointer, sticky(_DEFAULT, before.spec if before else None))


def _gets_kubernetes_tokens(workload: Workload, facts: Facts) -> bool:
    """The mutation `auth-token` will let this new RayCluster's pods check their callers' tokens."""
    if facts.injection.auth != "kubernetes" or workload.kind != "RayCluster" or facts.before:
        return False
    return token_choice(workload, facts).auth is Auth.KUBERNETES


def _restore_token(draft: Draft, pod: Pod, facts: Facts) -> Iterator[str]:
    """Set the field to true if RayWarden set it to false, else warn the author.

    RayWarden set it to false if the stored pod did not need a token.
    """
    before = facts.counterpart(pod)
    if facts.before and before and not needs_token(before, facts.before):
        with draft.all_or_nothing():
            draft.set(pod.spec_pointer / "automountServiceAccountToken", True)
    else:
        yield f"the {pod.title} needs an API token: set automountServiceAccountToken: true"
