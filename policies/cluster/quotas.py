"""The quotas that limit what a namespace may use, and the namespaces that each of them limits."""

from collections.abc import Mapping
from typing import Any

from policies.documents.metadata import namespace_of
from policies.documents.untyped import as_dict, dict_items, str_items

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


def namespaces_in_quota(document: Mapping[str, Any]) -> frozenset[str]:
    """The namespaces that a quota object limits.

    Its own; for ACK's ElasticQuotaTree, those that the leaves of the tree name. A tree outside
    kube-system limits no namespace, because ACK does not read it.
    """
    namespace = namespace_of(document)
    if document.get("kind") != "ElasticQuotaTree":
        return frozenset({namespace})
    if namespace != _TREE_NAMESPACE:
        return frozenset()
    limited, waiting = set[str](), [as_dict(as_dict(document.get("spec")).get("root"))]
    while waiting:
        node = waiting.pop()
        children = [child for _, child in dict_items(node.get("children"))]
        waiting += children
        if not children:
            limited |= {name for _, name in str_items(node.get("namespaces"))}
    return frozenset(limited)
