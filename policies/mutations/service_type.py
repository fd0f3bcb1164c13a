"""The head service stays inside the cluster."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.draft import Draft
from policies.model import Facts, Mutation, sticky
from policies.ray.workload import Workload


class ServiceType(Mutation):
    """Writes `headGroupSpec.serviceType: ClusterIP` where the author named no type.

    KubeRay's default is the same, and stays headless; written down, it can be read in the object and in a review.
    """

    id: ClassVar[str] = "service-type"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterator[str]:
        """A RayCluster's head group only."""
        cluster = workload.cluster
        if (
            workload.kind == "RayCluster"
            and cluster
            and cluster.head.raw
            and not facts.only_marks(workload)
        ):
            before = (
                facts.before.cluster.head.raw if facts.before and facts.before.cluster else None
            )
            with draft.all_or_nothing():
                draft.fill(cluster.head.pointer, sticky({"serviceType": "ClusterIP"}, before))
        yield from ()
