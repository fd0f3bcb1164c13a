"""Token authentication for Ray's ports that TLS does not protect."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.documents.untyped import as_str
from policies.model import Facts, Mutation, sticky
from policies.ray.version import TOKEN_AUTH_SINCE, ray_version
from policies.ray.workload import Workload

# Older than every version, so that an unknown version does not get tokens.
_UNKNOWN_VERSION = (0, 0, 0)
_DEFAULT = {"authOptions": {"mode": "token"}}


class AuthToken(Mutation):
    """Requests KubeRay's token authentication (`authOptions`) if `inject.auth` is `token`.

    Applies only to Ray 2.52 or later, and only if the author wrote no `authOptions`.
    """

    id: ClassVar[str] = "auth-token"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Applies only to RayClusters; KubeRay creates the Secret and the variables itself."""
        cluster = workload.cluster
        if workload.kind != "RayCluster" or cluster is None:
            return
        if cluster.spec.get("authOptions") is not None:
            return
        before = facts.before.cluster.spec if facts.before and facts.before.cluster else None
        if before is None and (facts.injection.auth != "token" or facts.only_marks(workload)):
            return
        version = ray_version(as_str(cluster.spec.get("rayVersion"))) or _UNKNOWN_VERSION
        if before is None and version < TOKEN_AUTH_SINCE:
            yield (
                "token authentication stays off: KubeRay supports it only where spec.rayVersion"
                " is 2.52 or later"
            )
            return
        with draft.all_or_nothing():
            draft.fill(cluster.pointer, sticky(_DEFAULT, before))
