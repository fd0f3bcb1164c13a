"""The objects that can expose Ray workloads: those that lead to pods or isolate them."""

from collections.abc import Mapping
from typing import Any

from policies.documents.metadata import ObjectView
from policies.documents.untyped import as_dict
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


class RelatedObject(ObjectView):
    """An object of one of these kinds; the document behind the view stays raw."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        super().__init__(kind, document)
        self.spec = as_dict(document.get("spec"))

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "RelatedObject | None":
        """The view of `document`; None for a kind that no rule checks."""
        return cls(kind.kind, document) if (kind.group, kind.kind) in _GROUP_KINDS else None
