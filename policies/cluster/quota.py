"""Quotas: which namespaces they limit, and which resources there."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items, str_items
from policies.ray.accelerators import is_accelerator

# The group and kind of the quotas of Kubernetes, of scheduler-plugins and of ACK's scheduler.
QUOTA_KINDS = frozenset(
    {
        ("", "ResourceQuota"),
        ("scheduling.sigs.k8s.io", "ElasticQuota"),
        ("scheduling.sigs.k8s.io", "ElasticQuotaTree"),
        ("scheduling.x-k8s.io", "ElasticQuota"),
    }
)
# ACK's scheduler reads its ElasticQuotaTree only from this namespace.
_TREE_NAMESPACE = "kube-system"
# Quotas stay in memory; this is far above the accelerators that any of them limits.
_MAX_RESOURCES = 64
# The quotas with these scopes limit every Ray pod that has requests and no deadline. Other scopes
# select only some of the pods (Kubernetes `ResourceQuotaScope`).
_SCOPES_OF_ALL = frozenset({"NotBestEffort", "NotTerminating"})


@dataclass(frozen=True, slots=True)
class LiveQuota:
    """A quota that exists, as it limits one namespace.

    `resources`: `memory` and accelerators such as `nvidia.com/gpu`, if it limits them for all pods.
    """

    name: str
    resources: frozenset[str] = frozenset()


def quotas_in(document: Mapping[str, Any]) -> dict[str, LiveQuota]:
    """What a quota object limits, by namespace.

    Its own namespace; for ACK's ElasticQuotaTree, those that the leaves of the tree name. A tree
    outside kube-system limits no namespace, because ACK does not read it.
    """
    namespace, name = namespace_of(document), name_of(document)
    spec = as_dict(document.get("spec"))
    if document.get("kind") == "ElasticQuotaTree":
        return dict(_leaves(name, spec)) if namespace == _TREE_NAMESPACE else {}
    resources = _resources(as_dict(spec.get("max")))
    if not _has_narrow_scope(spec):
        # A ResourceQuota names a limit `memory`, `requests.memory` or `limits.memory`.
        resources |= _resources(as_dict(spec.get("hard")))
    return {namespace: LiveQuota(name, resources)}


def _leaves(name: str, spec: Mapping[str, Any]) -> Iterator[tuple[str, LiveQuota]]:
    """The namespaces of each leaf; the limits of the nodes above it hold there as well."""
    waiting = [(as_dict(spec.get("root")), frozenset[str]())]
    while waiting:
        node, above = waiting.pop()
        resources = above | _resources(as_dict(node.get("max")))
        children = [child for _, child in dict_items(node.get("children"))]
        waiting += [(child, resources) for child in children]
        if not children:
            quota = LiveQuota(name, resources)
            for _, namespace in str_items(node.get("namespaces")):
                yield namespace, quota


def _resources(limits: Iterable[str]) -> frozenset[str]:
    names = (name.removeprefix("requests.").removeprefix("limits.") for name in limits)
    known = (name for name in names if name == "memory" or is_accelerator(name))
    return frozenset(islice(known, _MAX_RESOURCES))


def _has_narrow_scope(spec: Mapping[str, Any]) -> bool:
    scopes = {scope for _, scope in str_items(spec.get("scopes"))}
    for _, expression in dict_items(as_dict(spec.get("scopeSelector")).get("matchExpressions")):
        scopes.add(as_str(expression.get("scopeName")))
    return not scopes <= _SCOPES_OF_ALL
