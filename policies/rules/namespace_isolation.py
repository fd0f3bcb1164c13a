"""Ray lives in namespaces that are for it."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import ClassVar

from pydantic import Field

from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload


class NamespaceIsolation(Rule):
    """Refuses Ray in `default`, in Kubernetes' own namespaces, and in those listed as shared.

    Why: the namespace is the boundary of Ray's security: whoever may create pods there can join, and what runs beside
    it shares its quota, its service accounts and its Secrets.
    Fix: a namespace for the team's Ray.
    """

    id: ClassVar[str] = "namespace-isolation"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    shared_namespaces: tuple[str, ...] = Field(
        (), description="name patterns of further namespaces that are shared"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        name = facts.namespace
        patterns = ("default", "kube-*", *self.shared_namespaces)
        if not workload.is_kuberay_pod and any(fnmatchcase(name, pattern) for pattern in patterns):
            message = f"the namespace {name} is shared with what is not Ray"
            remediation = "write namespace: ray-team, or what your team is called, after kubectl create namespace ray-team"
            yield self.violation(message, ROOT / "metadata" / "namespace", remediation)
