"""Ray runs in namespaces that it does not share with other workloads."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.documents.patterns import matches_any
from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.workload import Workload

# Name patterns of the namespaces that come with Kubernetes.
KUBERNETES_NAMESPACES = ("default", "kube-*")


class NamespaceIsolation(Rule):
    """Refuses Ray in `default`, in the namespaces of Kubernetes itself and in shared namespaces.

    Why: the namespace is Ray's security boundary. Anyone who may create pods in it can join a
    cluster, and all of its workloads share one quota, its service accounts and its Secrets.
    Fix: create a namespace for the team's Ray clusters.
    """

    id: ClassVar[str] = "namespace-isolation"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.LOW

    shared_namespaces: tuple[str, ...] = Field(
        (), description="name patterns of other namespaces that are shared"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        name = facts.namespace
        patterns = (*KUBERNETES_NAMESPACES, *self.shared_namespaces)
        if workload.is_kuberay_pod:
            return
        if matches_any(name, patterns):
            message = f"the namespace {name} is shared with workloads other than Ray"
            remediation = (
                "set namespace: ray-team, or a name for your team, after "
                "kubectl create namespace ray-team"
            )
            yield self.violation(message, ROOT / "metadata" / "namespace", remediation)
