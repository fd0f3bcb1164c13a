"""A job has a cluster of its own."""

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
    """Refuses RayJobs that run in a cluster that is there already (`clusterSelector`).

    Why: within a Ray cluster there is no wall: a job reads the memory, files and credentials of every other one.
    Fix: `rayClusterSpec` in place of `clusterSelector`.
    """

    id: ClassVar[str] = "one-job-one-cluster"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        place = _PLACES.get(workload.kind)
        if place and place.read(workload.document):
            remediation = f"delete clusterSelector and write the cluster into {place.parent / 'rayClusterSpec'}"
            yield self.violation(
                "the job runs in a cluster that other jobs use", place, remediation
            )
