"""What a Ray cluster works with: KubeRay's operator, the signer, the API server."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# Both KubeRay's Helm chart and its own manifests give the operator's pods this label.
OPERATOR_LABELS = {"app.kubernetes.io/component": "kuberay-operator"}
SIGNER_LABELS = {"app.kubernetes.io/name": "raywarden"}
_DNS_PORTS = (53, 5353)


@dataclass(frozen=True, slots=True)
class Infrastructure:
    """What a cluster works with.

    `operators`: the namespaces of KubeRay's operators. `signer`: the namespace and the port of the
    enrollment server; None if the pods get no certificate from it. `api_server`: its addresses and
    ports; empty if they are unknown.
    """

    operators: Sequence[str] = ()
    signer: tuple[str, int] | None = None
    api_server: Sequence[tuple[str, int]] = ()


def egress_to_dns() -> dict[str, Any]:
    """A rule for DNS at any address: it is not always in `kube-system`.

    Node-local caches and DNS on the host network answer from an address of the node, and the pods
    of OpenShift in `openshift-dns` listen on 5353.
    """
    ports = [
        {"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")
    ]
    return {"ports": ports}
