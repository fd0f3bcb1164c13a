"""The table of what a ValidatingAdmissionPolicy says (tests/fixtures/cel/parity.yaml)."""

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
    """One expression, the request it is asked about, and the verdict; `refused` is a policy that cannot be made."""

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
        """What the expression reads, as the API server gives it."""
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
    return [
        Case(**{_CAMEL.get(key, key): value for key, value in entry.items()}) for entry in table
    ]


def _ray_cluster(document: Object, namespace: str) -> Object:
    metadata = {**document.get("metadata", {}), "name": NAME, "namespace": namespace}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", **document, "metadata": metadata}
