"""A head service that is reachable only inside the cluster."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.model import Facts, Mutation, sticky
from policies.ray.workload import Workload


class ServiceType(Mutation):
    """Writes `headGroupSpec.serviceType: ClusterIP` if the author chose no type.

    KubeRay's default is the same, and the service stays headless. The written value makes it
    visible in the object and in a review.
    """

    id: ClassVar[str] = "service-type"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """Applies only to the head group of a RayCluster."""
        yield from ()
        cluster = workload.cluster
        if workload.kind != "RayCluster" or cluster is None or facts.only_marks(workload):
            return
        if not cluster.head.raw:
            return
        stored = facts.before.cluster if facts.before else None
        before = stored.head.raw if stored else None
        with draft.all_or_nothing():
            draft.fill(cluster.head.pointer, sticky({"serviceType": "ClusterIP"}, before))
