"""No Kubernetes API token in pods that do not need it."""

from collections.abc import Iterable
from typing import ClassVar

from policies.documents.draft import Draft
from policies.injection.api_token import has_token, needs_token
from policies.injection.token_choice import Auth, token_choice
from policies.model import MEMBERS, Facts, Mutation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload

_FIELD = "automountServiceAccountToken"


class TokenAutomount(Mutation):
    """Writes `automountServiceAccountToken: false` if the author did not choose.

    Two kinds of pods keep their token: the head of an autoscaling cluster, whose autoscaler changes
    the RayCluster through the API, and pods whose Ray checks its users' tokens with the API server
    (`authOptions.enableK8sTokenAuth`).
    """

    id: ClassVar[str] = "token-automount"
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster", "Pod"})
    roles: ClassVar[frozenset[PodRole]] = MEMBERS

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """Skips pods that already mount a token: the field would no longer remove it."""
        if facts.only_marks(workload) or _gets_kubernetes_tokens(workload, facts):
            return ()
        chosen = pod.spec.get(_FIELD)
        # An author who chose true keeps it, whether the pod needs a token or not.
        if chosen is not None and chosen is not False:
            return ()
        if needs_token(pod, workload):
            return _restore_token(draft, pod, facts) if chosen is False else ()
        if chosen is None and not has_token(pod):
            before = facts.counterpart(pod)
            if before is None or before.spec.get(_FIELD) is False:
                draft.fill(pod.spec_pointer, _FIELD, False)
        return ()


def _gets_kubernetes_tokens(workload: Workload, facts: Facts) -> bool:
    """The mutation `auth-token` will let this new RayCluster's pods check their callers' tokens."""
    if facts.injection.auth != "kubernetes" or workload.kind != "RayCluster" or facts.before:
        return False
    return token_choice(workload, facts).auth is Auth.KUBERNETES


def _restore_token(draft: Draft, pod: Pod, facts: Facts) -> Iterable[str]:
    """Set the field to true if RayWarden set it to false, else warn the author.

    RayWarden set it to false if the stored pod did not need a token.
    """
    before = facts.counterpart(pod)
    if facts.before and before and not needs_token(before, facts.before):
        draft.set(pod.spec_pointer, _FIELD, True)
        return ()
    return (f"the {pod.title} needs an API token: set {_FIELD}: true",)
