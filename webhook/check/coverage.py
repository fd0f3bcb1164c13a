"""Checks that RayWarden covers every Ray object and every Ray pod in the cluster."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.metadata import (
    controller_of,
    labels_of,
    name_of,
    namespace_of,
)
from policies.documents.pointer import ROOT
from policies.documents.untyped import as_str
from policies.injection.contract import TlsBy, opts_out, own_secret, tls_by
from policies.model import NAMESPACE_LABELS, Profile
from policies.ray.membership import RAY_CLUSTER_LABEL, has_opted_in, ray_pod
from policies.ray.pod import ENROLL_CONTAINER, Pod, PodRole
from policies.ray.workload import Workload
from webhook.check.facts import MUTATING, CheckFacts, Object, Objects, Unavailable, or_empty
from webhook.check.findings import Finding, enumerated, failed, ok, or_ok, unknown, warning
from webhook.check.installation import policy_of
from webhook.check.registration import labels_by_namespace, names_of, webhooks_that_skip
from webhook.kube.objects import created_of, pod_has_ended


@dataclass(frozen=True, slots=True)
class _Key:
    """The namespace and the name of an object."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def coverage(facts: CheckFacts) -> Iterator[Finding]:
    """Nothing of Ray in the cluster bypasses RayWarden."""
    lists = {"namespaces": facts.namespaces, "ray-pods": facts.ray_pods, **facts.ray_objects}
    for name, objects in lists.items():
        if isinstance(objects, Unavailable):
            yield unknown(name, f"the {name.replace('-', ' ')} in the cluster", objects)
    yield from _namespaces(facts)
    yield from _looser_profiles(facts)
    yield from _clusters(facts)
    yield from _pods(facts)


def _namespaces(facts: CheckFacts) -> Iterator[Finding]:
    """Namespaces that contain Ray and that a webhook skips."""
    if isinstance(facts.namespaces, Unavailable):
        return
    lists = (*facts.ray_objects.values(), facts.ray_pods)
    namespaces = ray_namespaces(lists)
    skipped = list(_skipped(facts, namespaces, labels_by_namespace(facts.namespaces)))
    yield from skipped
    # `ok` needs every answer: something unavailable may be in a namespace that a webhook skips.
    if skipped or any(isinstance(objects, Unavailable) for objects in lists):
        return
    if all(isinstance(configuration, dict) for configuration in facts.configurations.values()):
        message = f"every webhook is called for every namespace with Ray in it ({len(namespaces)})"
        yield ok("namespaces", message)


def _skipped(
    facts: CheckFacts, namespaces: list[str], labels: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    for kind, configuration in facts.configurations.items():
        if not isinstance(configuration, dict):
            continue
        for namespace in namespaces:
            yield from skipped_namespace(kind, configuration, namespace, labels.get(namespace, {}))


def skipped_namespace(
    kind: str, configuration: Object, namespace: str, labels: Mapping[str, Any]
) -> Iterator[Finding]:
    """That some webhooks of a configuration are not called for a namespace with Ray in it."""
    skipping = webhooks_that_skip(configuration, labels)
    if not skipping:
        return
    problem = f"the {kind} webhook {enumerated(skipping)} is not called for it"
    if skipping == names_of(configuration):
        problem = f"no {kind} webhook is called for it"
    message = f"namespace {namespace} has Ray in it, but {problem}"
    remediation = (
        "move Ray to another namespace, or change the namespaceSelector of the webhook, "
        "or change the labels of the namespace"
    )
    yield warning("namespaces", message, remediation)


def ray_namespaces(lists: Iterable[Objects | Unavailable]) -> list[str]:
    """The namespaces of these objects, sorted."""
    names: set[str] = set()
    for objects in lists:
        names.update(namespace_of(document) for document in or_empty(objects))
    return sorted(names)


def _looser_profiles(facts: CheckFacts) -> Iterator[Finding]:
    """Namespaces with a label for a looser profile, if the policy allows such labels."""
    policy = policy_of(facts)
    if policy is None or not policy.file.namespaces_may_loosen:
        return
    profiles = {str(profile): profile for profile in Profile}
    for namespace in or_empty(facts.namespaces):
        name, labels = name_of(namespace), labels_of(namespace)
        for mode, label in NAMESPACE_LABELS.items():
            floor = getattr(policy.file.profiles, mode)
            chosen = as_str(labels.get(label))
            if chosen not in profiles or profiles[chosen] >= Profile.named(floor):
                continue
            message = (
                f"namespace {name} has the label {label}: {chosen}, "
                f"which is looser than the policy's {floor}"
            )
            remediation = (
                f"run kubectl label namespace {name} {label}-; "
                "or set namespacesMayLoosen: false in the policy"
            )
            yield warning("looser-profiles", message, remediation)


def _clusters(facts: CheckFacts) -> Iterator[Finding]:
    clusters = facts.ray_objects["rayclusters"]
    if isinstance(clusters, Unavailable):
        return
    message = "there is no RayCluster yet"
    if clusters:
        message = (
            f"every RayCluster has TLS from RayWarden, KubeRay or its author ({len(clusters)})"
        )
    yield from or_ok(_without_tls(clusters, facts), "clusters", message)


def _without_tls(clusters: Objects, facts: CheckFacts) -> Iterator[Finding]:
    for document in clusters:
        workload = Workload("RayCluster", document)
        if tls_by(workload) is not TlsBy.NONE:
            continue
        key = _key(document)
        pods = sum(_cluster_of(pod) == key for pod in or_empty(facts.ray_pods))
        message = f"RayCluster {key} has no TLS ({pods} pods)"
        if opts_out(workload):
            remediation = "remove raywarden.io/inject, and recreate it"
            yield warning("clusters", f"{message}: it opted out of injection", remediation)
        else:
            reason = "it predates RayWarden, or the webhook was bypassed"
            yield warning("clusters", f"{message}: {reason}", _recreate(document))


def _recreate(document: Object) -> str:
    command = f"run kubectl -n {namespace_of(document)} replace --force -f MANIFEST"
    owner = controller_of(document)
    if owner and owner.kind in ("RayJob", "RayService"):
        return f"recreate the {owner.kind} {owner.name} that owns it: {command}"
    return f"recreate it, which ends its jobs: {command}"


def _pods(facts: CheckFacts) -> Iterator[Finding]:
    pods, clusters = facts.ray_pods, facts.ray_objects["rayclusters"]
    if isinstance(pods, Unavailable) or isinstance(clusters, Unavailable):
        return
    managed_clusters = {
        _key(document)
        for document in clusters
        if tls_by(Workload("RayCluster", document)) is TlsBy.RAYWARDEN
    }
    managed_pods = [pod for pod in pods if _must_enroll(pod, managed_clusters)]
    problems = [_not_enrolled(pod, facts) for pod in managed_pods if not _enrolls(pod)]
    message = (
        f"every pod managed by RayWarden enrolls or brings a certificate ({len(managed_pods)})"
    )
    yield from or_ok(problems, "pods", message)


def _must_enroll(pod: Object, managed_clusters: set[_Key]) -> bool:
    """Whether a running pod belongs to a managed cluster or has opted in."""
    if pod_has_ended(pod):
        return False
    labels = labels_of(pod)
    if has_opted_in(labels):
        return True
    view = ray_pod("Pod", pod, ROOT)
    # KubeRay's Redis clean-up pod joins no Ray cluster.
    is_clean_up = view is not None and view.role is PodRole.CLEANUP
    return _cluster_of(pod) in managed_clusters and not is_clean_up


def _enrolls(document: Object) -> bool:
    pod = Pod(document, ROOT, PodRole.WORKER, "")
    if own_secret(pod):
        return True
    return any(
        container.name == ENROLL_CONTAINER and container.list_name == "initContainers"
        for container in pod.containers
    )


def _not_enrolled(pod: Object, facts: CheckFacts) -> Finding:
    key = _key(pod)
    configuration = facts.configurations[MUTATING]
    reason = "the mutating webhook was not called, or failed, when the pod was created"
    if isinstance(configuration, dict) and created_of(pod) < created_of(configuration):
        reason = "it predates RayWarden"
    message = f"pod {key} has no init container {ENROLL_CONTAINER}: {reason}"
    remediation = (
        f"run kubectl -n {key.namespace} delete pod {key.name}; its cluster creates a new one"
    )
    return failed("pods", message, remediation)


def _cluster_of(pod: Object) -> _Key:
    return _Key(namespace_of(pod), as_str(labels_of(pod).get(RAY_CLUSTER_LABEL)))


def _key(document: Object) -> _Key:
    return _Key(namespace_of(document), name_of(document))
