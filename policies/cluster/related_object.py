"""The objects that can expose Ray workloads: those that lead to pods, isolate them, or reach them.

NetworkPolicies let the submitter of a RayJob reach the dashboard, so every object that creates pods
with its labels counts, and the Job whose pods RayWarden gives them. Programs that connect to Ray
count, too: without a certificate Ray refuses them.
"""

from collections.abc import Mapping
from typing import Any

from policies.documents.metadata import ObjectView, controller_of, labels_of
from policies.documents.untyped import as_dict
from policies.ray.membership import submitter_labels_in
from policies.ray.ray_address import ray_addresses
from policies.ray.workload import TEMPLATE_KINDS, Kind, template_place

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
    """An object of one of these kinds; the document behind the view stays raw.

    `only_connects`: it is nothing of Ray's; its pods run a program that connects to Ray. RayWarden
    only warns about it.
    """

    def __init__(self, kind: str, document: Mapping[str, Any], only_connects: bool = False) -> None:
        super().__init__(kind, document)
        self.spec = as_dict(document.get("spec"))
        self.only_connects = only_connects

    @classmethod
    def of(cls, kind: Kind, document: Mapping[str, Any]) -> "RelatedObject | None":
        """The view of `document`; None for a kind or a template that RayWarden leaves alone."""
        group_kind = (kind.group, kind.kind)
        if group_kind in _GROUP_KINDS or (
            group_kind in TEMPLATE_KINDS and _creates_submitters(kind.kind, document)
        ):
            return cls(kind.kind, document)
        if _connects_to_ray(group_kind, document):
            return cls(kind.kind, document, only_connects=True)
        return None


def _connects_to_ray(group_kind: tuple[str, str], document: Mapping[str, Any]) -> bool:
    if group_kind not in TEMPLATE_KINDS and group_kind != ("", "Pod"):
        return False
    # The author wrote the object that controls this one, and is warned about that.
    if controller_of(document) is not None:
        return False
    template = as_dict(template_place(group_kind[1]).read(document))
    return any(address.may_be_inside for address in ray_addresses(template))


def _creates_submitters(kind: str, document: Mapping[str, Any]) -> bool:
    if kind == "Job" and submitter_labels_in(labels_of(document)):
        return True
    template = as_dict(template_place(kind).read(document))
    return bool(submitter_labels_in(labels_of(template)))
