"""What the installed KubeRay knows, by the schema of its CustomResourceDefinitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict
from policies.ray.membership import RAY_GROUP

# The first releases with `spec.authOptions`, and with its field `enableK8sTokenAuth`.
TOKENS_SINCE = "1.5.1"
KUBERNETES_TOKENS_SINCE = "1.6"
_KINDS = "x-kubernetes-group-version-kind"
_RAY_CLUSTER = {"group": RAY_GROUP, "version": "v1", "kind": "RayCluster"}


@dataclass(frozen=True, slots=True)
class KubeRayApi:
    """The fields of RayClusters that not every KubeRay has; None means "unknown".

    The API server drops a field that the CustomResourceDefinition does not have, without an error.
    """

    tokens: bool | None = None
    kubernetes_tokens: bool | None = None

    @classmethod
    def of(cls, openapi: Mapping[str, Any]) -> "KubeRayApi":
        """The view of the OpenAPI document of `ray.io/v1`; unknown if it has no RayCluster."""
        schemas = as_dict(as_dict(openapi.get("components")).get("schemas"))
        for schema in schemas.values():
            kinds = as_dict(schema).get(_KINDS)
            if isinstance(kinds, list) and _RAY_CLUSTER in kinds:
                spec = as_dict(_properties(as_dict(schema)).get("spec"))
                # A schema that lists no fields keeps all of them.
                if not _properties(spec):
                    return cls()
                options = _properties(spec).get("authOptions")
                fields = _properties(as_dict(options))
                return cls(options is not None, "enableK8sTokenAuth" in fields)
        return cls()


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_dict(schema.get("properties"))
