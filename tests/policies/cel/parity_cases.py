"""The verdicts of a ValidatingAdmissionPolicy, from tests/fixtures/cel/parity.yaml."""

from dataclasses import dataclass, field
from typing import Any

import yaml

from tests.support.factory import Object
from tests.support.paths import FIXTURES

_TABLE = FIXTURES / "cel" / "parity.yaml"
_CAMEL = {"oldObject": "old_object", "namespaceLabels": "namespace_labels"}
NAME = "a"


@dataclass(frozen=True)
class Case:
    """One expression, its request, and the verdict.

    The verdict `refused` means that the API server rejects the policy itself.
    """

    name: str
    expression: str
    verdict: str
    object: Object
    old_object: Object | None = None
    namespace_labels: dict[str, str] = field(default_factory=dict)

    def document(self, namespace: str) -> Object:
        return _ray_cluster(self.object, namespace)

    def stored(self, namespace: str) -> Object | None:
        return _ray_cluster(self.old_object, namespace) if self.old_object else None

    def variables(self, namespace: str) -> dict[str, Any]:
        """The variables of the expression, as the API server sets them."""
        request = {
            "kind": {"group": "ray.io", "version": "v1", "kind": "RayCluster"},
            "resource": {"group": "ray.io", "version": "v1", "resource": "rayclusters"},
            "name": NAME,
            "namespace": namespace,
            "operation": "UPDATE" if self.old_object else "CREATE",
            "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        }
        labels = {"kubernetes.io/metadata.name": namespace, **self.namespace_labels}
        return {
            "object": self.document(namespace),
            "oldObject": self.stored(namespace),
            "request": request,
            "namespaceObject": {"metadata": {"name": namespace, "labels": labels}},
        }


def cases() -> list[Case]:
    table = yaml.safe_load(_TABLE.read_text())
    return [_case(entry) for entry in table]


def _case(entry: dict[str, Any]) -> Case:
    return Case(**{_CAMEL.get(key, key): value for key, value in entry.items()})


def _ray_cluster(document: Object, namespace: str) -> Object:
    metadata = {**document.get("metadata", {}), "name": NAME, "namespace": namespace}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", **document, "metadata": metadata}
