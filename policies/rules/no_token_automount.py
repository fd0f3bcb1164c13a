"""Ray pods get no Kubernetes API token unless they need it."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.untyped import clipped
from policies.injection.api_token import (
    dashboard_reviewer,
    has_token,
    needs_token,
    token_reviewers,
)
from policies.injection.contract import is_completed_later
from policies.injection.token_fix import review_binding
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Workload


class NoTokenAutomount(Rule):
    """Refuses a Kubernetes API token in Ray pods that do not need one.

    Only two kinds of pod need a token: the head of an autoscaling cluster, and pods in which Ray
    verifies the tokens of its users with the API server. RayWarden sets
    `automountServiceAccountToken: false` itself if the author did not choose. The rule also warns
    if pods that verify tokens, or RayWarden's proxy beside the dashboard, are not known to have the
    right to do so.
    Why: every job that runs on Ray can read the token and use all permissions of the service
    account.
    Fix: set `automountServiceAccountToken: false` in the template.
    """

    id: ClassVar[str] = "no-token-automount"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        yield from self._check_reviewers(workload, facts)
        yield from self._check_dashboard(workload, facts)
        for pod in workload.pods:
            if not needs_token(pod, workload) and _gets_token(pod, workload, facts):
                yield self.violation(
                    f"the {pod.title} gets a Kubernetes API token that it does not need",
                    pod.spec_pointer / "automountServiceAccountToken",
                    "set automountServiceAccountToken: false in the pod spec",
                )

    def _check_reviewers(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Ray then refuses every caller, its own pods included (kuberay#4922, ray#64186)."""
        accounts = dict(token_reviewers(workload))
        for account, place in accounts.items():
            if not facts.namespace_state.rbac.may_review_tokens(facts.namespace, account):
                yield self.unknown(
                    "Ray checks its callers' Kubernetes tokens as the service account "
                    f"{clipped(account)}, which is not known to have the right to create "
                    "TokenReviews and SubjectAccessReviews",
                    place,
                    f"{review_binding(facts.namespace, account)} (a RoleBinding has no effect), "
                    "and grant it and the users the verb ray:write on rayclusters.ray.io in this "
                    "namespace",
                )

    def _check_dashboard(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """The dashboard's proxy then refuses every caller."""
        reviewer = dashboard_reviewer(workload)
        if reviewer is None:
            return
        account, place = reviewer
        if not facts.namespace_state.rbac.may_review_tokens(facts.namespace, account):
            yield self.unknown(
                "the proxy in front of the dashboard checks its callers' tokens as the service "
                f"account {clipped(account)}, which is not known to have the right to create "
                "TokenReviews and SubjectAccessReviews",
                place,
                f"{review_binding(facts.namespace, account)} (a RoleBinding has no effect)",
            )


def _gets_token(pod: Pod, workload: Workload, facts: Facts) -> bool:
    chosen = pod.spec.get("automountServiceAccountToken")
    if chosen is not None:
        return chosen is not False
    # KubeRay also creates submitters without a template, where the author has no place to choose.
    if pod.role is PodRole.SUBMITTER or is_completed_later(pod, workload, facts):
        return False
    return has_token(pod) if workload.kind == "Pod" else True
