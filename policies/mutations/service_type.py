"""A head service that is reachable only inside the cluster."""

from collections.abc import Iterable
from typing import ClassVar

from policies.documents.draft import Draft
from policies.model import Facts, Mutation
from policies.ray.workload import Workload


class ServiceType(Mutation):
    """Writes `headGroupSpec.serviceType: ClusterIP` if the author chose no type.

    KubeRay's default is the same, and the service stays headless. The written value makes it
    visible in the object and in a review.
    """

    id: ClassVar[str] = "service-type"

    def mutate(self, draft: Draft, workload: Workload, facts: Facts) -> Iterable[str]:
        """Applies only to the head group of a RayCluster."""
        cluster = workload.cluster
        if cluster is None or facts.only_marks(workload) or not cluster.head.raw:
            return ()
        stored = facts.before.cluster if facts.before else None
        if stored is None or stored.head.raw.get("serviceType") == "ClusterIP":
            draft.fill(cluster.head.pointer, "serviceType", "ClusterIP")
        return ()
