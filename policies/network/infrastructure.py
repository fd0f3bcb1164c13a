"""What a Ray cluster works with: KubeRay's operator, the signer, the API server."""

from collections.abc import Sequence
from dataclasses import dataclass

# Both KubeRay's Helm chart and its own manifests give the operator's pods this label.
OPERATOR_LABELS = {"app.kubernetes.io/component": "kuberay-operator"}
SIGNER_LABELS = {"app.kubernetes.io/name": "raywarden"}


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
