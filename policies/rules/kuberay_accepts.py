"""Kuberay accepts."""

from collections.abc import Iterator
from typing import ClassVar

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class KuberayAccepts(Rule):
    """Refuses pods that set `hostAliases`.

    Why: an alias sends traffic for a known name to an address that the author chose.
    Fix: use a Service instead.
    """

    id: ClassVar[str] = "kuberay-accepts"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for pod in workload.pods:
            if pod.spec.get("hostAliases"):
                place = pod.spec_pointer / "hostAliases"
                message = f"the {pod.title} sets hostAliases"
                yield self.violation(message, place, "remove hostAliases")
