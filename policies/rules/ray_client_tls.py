"""Programs that connect to a Ray cluster have a certificate of it."""

from collections.abc import Iterator
from typing import ClassVar

from policies.cluster.related_object import RelatedObject
from policies.cluster.state import LiveService
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.injection.contract import RAY_TLS_VARIABLES
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.membership import OPT_IN_CLUSTER_LABEL, OPT_IN_ROLE_LABEL, RAY_CLUSTER_LABEL
from policies.ray.pod import Container
from policies.ray.ray_address import RayAddress, ray_addresses
from policies.ray.workload import template_place

# What KubeRay appends to the name of a cluster for the Service of its head.
_HEAD_SERVICE = "-head-svc"
_INSTEAD = (
    "run the program as a RayJob, or submit it to port 8265 (ray job submit): only pods of a "
    "RayCluster get certificates of it"
)


class RayClientTls(Rule):
    """Warns of programs that connect to Ray without a certificate of the cluster.

    The rule never refuses. It looks at pods and at everything that creates them, such as a
    Deployment of a web server: a container with a literal `RAY_ADDRESS` that leads to another pod
    (`ray://HOST:PORT` or `HOST:PORT`), without RayWarden's labels, and without Ray's TLS variables.
    Other ways to state the address, such as a ConfigMap, an argument or `ray.init` in a program,
    are not seen, and neither is the name of a host outside the Kubernetes cluster.
    Why: Ray with TLS closes every connection without a certificate of the cluster's own CA. Ray
    Client then only reports that it cannot connect.
    Fix: label the pods `raywarden.io/cluster: NAME`, as the pods of the cluster, and
    `raywarden.io/role: client`. They then get a client certificate and the TLS variables. Clients
    of a RayCluster of KubeRay cannot opt in: run the program as a RayJob, or submit it to port
    8265.
    """

    id: ClassVar[str] = "ray-client-tls"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    severity: ClassVar[Severity] = Severity.MEDIUM
    only_warns: ClassVar[bool] = True

    def check_related_object(
        self, related_object: RelatedObject, facts: Facts
    ) -> Iterator[Violation]:
        if not related_object.only_connects:
            return
        place = template_place(related_object.kind)
        template = as_dict(place.read(related_object.document))
        for address in ray_addresses(template):
            container = Container(address.container, Pointer(), "")
            if address.may_be_inside and not container.variables.names >= RAY_TLS_VARIABLES.keys():
                name = clipped(container.name) or "(unnamed)"
                yield self.violation(
                    f"container {name} connects to a Ray cluster (RAY_ADDRESS) without a "
                    "certificate, and Ray with TLS refuses it",
                    Pointer((*place, *address.pointer)),
                    _fix(address, facts),
                    evidence=address.host,
                )


def _fix(address: RayAddress, facts: Facts) -> str:
    name, namespace = address.service
    if namespace in ("", facts.namespace):
        service = (facts.namespace_state.services or {}).get(name)
        if service and OPT_IN_CLUSTER_LABEL in service.selector:
            return _labels(clipped(as_str(service.selector[OPT_IN_CLUSTER_LABEL])))
        if _is_kuberays(name, service):
            return _INSTEAD
        return f"{_labels('NAME')}, where NAME is the name in that label of the head"
    if _is_kuberays(name, None):
        return _INSTEAD
    return (
        f"run it in the namespace {clipped(namespace)}, because a cluster and its clients share "
        f"one; there, {_labels('NAME')}, where NAME is the name in that label of the head"
    )


def _labels(cluster: str) -> str:
    return f"label the pods {OPT_IN_CLUSTER_LABEL}: {cluster} and {OPT_IN_ROLE_LABEL}: client"


def _is_kuberays(name: str, service: LiveService | None) -> bool:
    """The Service leads to the head of a RayCluster, by its selector or by its name."""
    if service is not None:
        return RAY_CLUSTER_LABEL in service.selector
    return name.endswith(_HEAD_SERVICE)
