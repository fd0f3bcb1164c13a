"""The objects beside Ray workloads that can expose or unguard them: what leads to pods, and what keeps others out."""

from collections.abc import Mapping
from typing import Any

from policies.documents.untyped import as_dict, as_str
from policies.ray.workload import Kind

_GROUP_KINDS = frozenset(
    {
        ("", "Endpoints"),
        ("", "Namespace"),
        ("", "Service"),
        ("discovery.k8s.io", "EndpointSlice"),
        ("extensions", "Ingress"),
        ("gateway.networking.k8s.io", "GRPCRoute"),
        ("gateway.networking.k8s.io", "HTTPRoute"),
        ("gateway.networking.k8s.io", "TCPRoute"),
        ("gateway.networking.k8s.io", "TLSRoute"),
        ("networking.k8s.io", "Ingress"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("route.openshift.io", "Route"),
    }
)


RELATED_KINDS = frozenset(kind for _, kind in _GROUP_KINDS)


class RelatedObject:
    """One such object; the object behind the view stays raw."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        self.kind = kind
        self.document = document
        self.metadata = as_dict(document.get("metadata"))
        self.labels = as_dict(self.metadata.get("labels"))
        self.annotations = as_dict(self.metadata.get("annotations"))
        self.spec = as_dict(document.get("spec"))

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "RelatedObject | None":
        """The view of `document`, or None for a kind that no rule has an opinion on."""
        return cls(kind.kind, document) if (kind.group, kind.kind) in _GROUP_KINDS else None

    @property
    def name(self) -> str:
        return as_str(self.metadata.get("name")) or as_str(self.metadata.get("generateName"))
