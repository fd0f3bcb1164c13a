"""What `kuberay-accepts` says of a document, for tests."""

from policies.kuberay.as_written import AsWritten
from policies.kuberay.problem import NotAccepted
from policies.kuberay.validation import refusals
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Kind, Workload
from tests.support.factory import Object
from webhook.manifests.kuberay_schemas import load_schemas

SCHEMAS = load_schemas()
RELEASES = ("1.5", "1.6", "1.7")


def operator(version: str = "", gates: str = "") -> KubeRayOperator:
    """The KubeRay of this version; without one, the newest with unknown feature gates."""
    if not version:
        return KubeRayOperator()
    known = KubeRayOperator.of_release(version, gates)
    assert known is not None
    return known


def in_fields(document: Object, version: str = "") -> list[NotAccepted]:
    """What is wrong with the fields of a manifest, and with what KubeRay creates from it."""
    return list(AsWritten(document, SCHEMAS).refusals(operator(version)))


def by_kuberay(document: Object, version: str = "", gates: str = "") -> list[NotAccepted]:
    """What KubeRay itself refuses."""
    workload = Workload.of(Kind.of(document), document)
    assert workload is not None
    return list(refusals(workload, operator(version, gates)))


def everything(document: Object, version: str = "", gates: str = "") -> list[str]:
    """All messages."""
    found = [*in_fields(document, version), *by_kuberay(document, version, gates)]
    return [refusal.message for refusal in found]
