"""Is every Ray object in the cluster under our care, and does every pod carry what it should?"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.pointer import ROOT
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection.contract import TlsBy, opts_out, own_secret, tls_by
from policies.model import NAMESPACE_LABELS, Profile
from policies.ray.pod import ENROLL_CONTAINER, Pod, PodRole
from policies.ray.workload import NODE_TYPE_LABEL, OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL, Workload
from webhook.check.findings import (
    MUTATING,
    CheckFacts,
    Finding,
    Object,
    Objects,
    Unavailable,
    failed,
    known,
    named,
    ok,
    or_ok,
    unknown,
    warning,
)
from webhook.check.installation import policy_of
from webhook.check.registration import labels_by_namespace, names_of, passing_by
from webhook.kube.objects import created_of

_ENDED = ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True)
class _Key:
    """Where an object is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def coverage(facts: CheckFacts) -> Iterator[Finding]:
    """Nothing of Ray is passed by."""
    asked = {"namespaces": facts.namespaces, "ray-pods": facts.ray_pods, **facts.ray_objects}
    for message, listed in asked.items():
        if isinstance(listed, Unavailable):
            yield unknown(message, f"the {message.replace('-', ' ')} there are", listed)
    yield from _namespaces(facts)
    yield from _loosened(facts)
    yield from _clusters(facts)
    yield from _pods(facts)


def _namespaces(facts: CheckFacts) -> Iterator[Finding]:
    """Namespaces with something of Ray in them, that a webhook of ours is not called for."""
    if isinstance(facts.namespaces, Unavailable):
        return
    listed = (*facts.ray_objects.values(), facts.ray_pods)
    holding = ray_namespaces(listed)
    found = list(_passed_by(facts, holding, labels_by_namespace(facts.namespaces)))
    yield from found
    # Of what could not be asked nothing good is said, either.
    asked = not any(isinstance(one, Unavailable) for one in listed)
    if asked and not found and all(isinstance(one, dict) for one in facts.configurations.values()):
        yield ok(
            "namespaces",
            f"every webhook is called for every namespace with Ray in it ({len(holding)})",
        )


def _passed_by(
    facts: CheckFacts, holding: list[str], labels: Mapping[str, Mapping[str, Any]]
) -> Iterator[Finding]:
    for kind, configuration in facts.configurations.items():
        if not isinstance(configuration, dict):
            continue
        for namespace in holding:
            if missing := passing_by(configuration, labels.get(namespace, {})):
                whole = missing == names_of(configuration)
                which = (
                    f"no {kind} webhook is called"
                    if whole
                    else f"{kind} webhook {named(missing)} is not called"
                )
                remediation = "move Ray out of it, or change namespaceSelector, or the labels of the namespace"
                yield warning(
                    "namespaces",
                    f"namespace {namespace} has Ray in it, and {which} for it",
                    remediation,
                )


def ray_namespaces(listed: Iterable[Objects | Unavailable]) -> list[str]:
    """The namespaces these objects are in, in order."""
    return sorted({_key(one).namespace for objects in listed for one in known(objects)})


def _loosened(facts: CheckFacts) -> Iterator[Finding]:
    """Namespaces whose label chooses a looser profile than the policy's own, where the policy lets them."""
    policy = policy_of(facts)
    if policy is None or not policy.file.namespaces_may_loosen:
        return
    for namespace in known(facts.namespaces):
        labels = as_dict(_metadata(namespace).get("labels"))
        for mode, label in NAMESPACE_LABELS.items():
            floor, chosen = getattr(policy.file.profiles, mode), as_str(labels.get(label))
            levels = {str(profile): profile for profile in Profile}
            if chosen in levels and levels[chosen] < Profile.named(floor):
                name = _metadata(namespace).get("name")
                remediation = f"kubectl label namespace {name} {label}-; or namespacesMayLoosen: false in the policy"
                yield warning(
                    "loosened",
                    f"namespace {name} is at {label}: {chosen}, below {floor}",
                    remediation,
                )


def _clusters(facts: CheckFacts) -> Iterator[Finding]:
    clusters = facts.ray_objects["rayclusters"]
    if isinstance(clusters, Unavailable):
        return
    good = f"every RayCluster has TLS, by us, by KubeRay or by its author ({len(clusters)})"
    yield from or_ok(
        _without_tls(clusters, facts),
        "clusters",
        good if clusters else "there is no RayCluster yet",
    )


def _without_tls(clusters: Objects, facts: CheckFacts) -> Iterator[Finding]:
    for document in clusters:
        workload = Workload("RayCluster", document)
        if tls_by(workload) is TlsBy.NOBODY:
            key, pods = (
                _key(document),
                sum(_cluster_of(pod) == _key(document) for pod in known(facts.ray_pods)),
            )
            message = f"RayCluster {key} has no TLS ({pods} pods)"
            if opts_out(workload):
                remediation = "take raywarden.io/inject off, and recreate it"
                yield warning("clusters", f"{message}: it asked to be left alone", remediation)
            else:
                yield warning(
                    "clusters", f"{message}: it was there before, or past us", _recreate(document)
                )


def _recreate(document: Object) -> str:
    key = _key(document)
    for _, owner in dict_items(_metadata(document).get("ownerReferences")):
        if owner.get("controller") is True and owner.get("kind") in ("RayJob", "RayService"):
            title = f"{owner['kind']} {as_str(owner.get('name'))}"
            return f"recreate the {title} it is of: kubectl -n {key.namespace} replace --force -f MANIFEST"
    return (
        f"recreate it, which ends its jobs: kubectl -n {key.namespace} replace --force -f MANIFEST"
    )


def _pods(facts: CheckFacts) -> Iterator[Finding]:
    pods, clusters = facts.ray_pods, facts.ray_objects["rayclusters"]
    if isinstance(pods, Unavailable) or isinstance(clusters, Unavailable):
        return
    managed = {
        _key(one) for one in clusters if tls_by(Workload("RayCluster", one)) is TlsBy.RAYWARDEN
    }
    ours = [pod for pod in pods if _enrolls_by_right(pod, managed)]
    bare = [pod for pod in ours if not _carries(pod)]
    good = f"every pod in our care has enrolled, or brings a certificate ({len(ours)})"
    yield from or_ok((_bare(pod, facts) for pod in bare), "pods", good)


def _enrolls_by_right(pod: Object, managed: set[_Key]) -> bool:
    """A pod that should have our init container: of a managed cluster, or opted in; not one that has ended."""
    if "deletionTimestamp" in _metadata(pod) or as_dict(pod.get("status")).get("phase") in _ENDED:
        return False
    labels = as_dict(_metadata(pod).get("labels"))
    if RAY_CLUSTER_LABEL in labels:
        return _cluster_of(pod) in managed and labels.get(NODE_TYPE_LABEL) != PodRole.CLEANUP
    return OPT_IN_CLUSTER_LABEL in labels


def _carries(document: Object) -> bool:
    pod = Pod(document, ROOT, PodRole.WORKER, "")
    return bool(own_secret(pod)) or any(
        container.name == ENROLL_CONTAINER and container.listed == "initContainers"
        for container in pod.containers
    )


def _bare(pod: Object, facts: CheckFacts) -> Finding:
    configuration, key = facts.configurations[MUTATING], _key(pod)
    before = isinstance(configuration, dict) and created_of(pod) < created_of(configuration)
    why = (
        "it was there before"
        if before
        else "it was made while the mutating webhook was not called, or failed"
    )
    message = f"pod {key} has no init container {ENROLL_CONTAINER}: {why}"
    return failed(
        "pods",
        message,
        f"kubectl -n {key.namespace} delete pod {key.name}: its cluster makes it anew",
    )


def _cluster_of(pod: Object) -> _Key:
    metadata = _metadata(pod)
    return _Key(
        as_str(metadata.get("namespace")),
        as_str(as_dict(metadata.get("labels")).get(RAY_CLUSTER_LABEL)),
    )


def _key(document: Object) -> _Key:
    return _Key(
        as_str(_metadata(document).get("namespace")), as_str(_metadata(document).get("name"))
    )


def _metadata(document: Object) -> Mapping[str, Any]:
    return as_dict(document.get("metadata"))
