"""Every job runs in a cluster of its own."""

from collections.abc import Iterator
from typing import ClassVar

from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

_PLACES = {
    "RayJob": ROOT / "spec" / "clusterSelector",
    "RayCronJob": ROOT / "spec" / "jobTemplate" / "clusterSelector",
}


class OneJobOneCluster(Rule):
    """Refuses RayJobs that run in an existing cluster (`clusterSelector`).

    Why: Ray does not isolate the jobs of a cluster. Each job can read the memory, files and
    credentials of all the others.
    Fix: use `rayClusterSpec` instead of `clusterSelector`.
    """

    id: ClassVar[str] = "one-job-one-cluster"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        place = _PLACES.get(workload.kind)
        if place and place.read(workload.document):
            target = place.parent / "rayClusterSpec"
            yield self.violation(
                "the job runs in a cluster that other jobs use",
                place,
                f"remove clusterSelector and define the cluster in {target}",
            )
