"""Token authentication for the doors TLS leaves open."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.documents.untyped import as_str
from policies.model import Facts, Mutation, sticky
from policies.ray.version import TOKENS_SINCE, ray_version
from policies.ray.workload import Workload

_NONE = (0, 0, 0)
_DEFAULT = {"authOptions": {"mode": "token"}}


class AuthToken(Mutation):
    """Asks KubeRay for token authentication (`authOptions.mode: token`) when the policy file says `inject.auth: token`.

    Only for Ray 2.52 and later, and only where the author wrote no `authOptions` of their own.
    """

    id: ClassVar[str] = "auth-token"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """A RayCluster only; KubeRay makes the Secret and the variables itself."""
        cluster = workload.cluster
        if (
            workload.kind != "RayCluster"
            or cluster is None
            or cluster.spec.get("authOptions") is not None
        ):
            return
        before = facts.before.cluster.spec if facts.before and facts.before.cluster else None
        if before is None and (facts.injection.auth != "token" or facts.only_marks(workload)):
            return
        if (
            before is None
            and (ray_version(as_str(cluster.spec.get("rayVersion"))) or _NONE) < TOKENS_SINCE
        ):
            yield "token authentication is left off: KubeRay allows it only where spec.rayVersion is 2.52 or later"
            return
        with draft.all_or_nothing():
            draft.fill(cluster.pointer, sticky(_DEFAULT, before))
