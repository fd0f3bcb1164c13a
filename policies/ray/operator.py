"""What is known of the KubeRay operator that runs in a cluster."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict
from policies.ray.membership import RAY_GROUP

# The first releases with `spec.authOptions`, and with its field `enableK8sTokenAuth`.
TOKENS_SINCE = (1, 5, 1)
KUBERNETES_TOKENS_SINCE = (1, 6)
# The first release with `spec.networkPolicy`, and the feature gate without which it refuses it
# (KubeRay 1.7, `pkg/features/features.go`).
NETWORK_POLICY_SINCE = (1, 7)
NETWORK_POLICY_GATE = "RayClusterNetworkPolicy"
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?([.+-].{0,40})?")
_KINDS = "x-kubernetes-group-version-kind"
_RAY_CLUSTER = {"group": RAY_GROUP, "version": "v1", "kind": "RayCluster"}


@dataclass(frozen=True, slots=True)
class KubeRayOperator:
    """The fields of RayClusters that not every release has, and the feature gates that are on.

    The API server drops a field that the CustomResourceDefinition does not have, without an error.
    `tokens`: `authOptions`. `kubernetes_tokens`: its field `enableK8sTokenAuth`. `network_policy`:
    `networkPolicy`. None means "unknown".
    """

    tokens: bool | None = None
    kubernetes_tokens: bool | None = None
    network_policy: bool | None = None
    gates: frozenset[str] | None = None

    @classmethod
    def of_release(cls, version: str, gates: str = "") -> "KubeRayOperator | None":
        """The operator by its version, and the value of its option `--feature-gates`.

        None if the text is not a version.
        """
        match = _VERSION.fullmatch(version.strip())
        if match is None:
            return None
        release = tuple(int(number) for number in match.group(1, 2, 3) if number)
        settings = (gate.strip().partition("=") for gate in gates.split(","))
        return cls(
            tokens=_is_since(release, TOKENS_SINCE),
            kubernetes_tokens=_is_since(release, KUBERNETES_TOKENS_SINCE),
            network_policy=_is_since(release, NETWORK_POLICY_SINCE),
            gates=frozenset(name for name, _, value in settings if value.lower() == "true"),
        )

    @classmethod
    def of_openapi(cls, document: Mapping[str, Any]) -> "KubeRayOperator":
        """The operator by the OpenAPI document of `ray.io/v1`; unknown if it has no RayCluster."""
        schemas = as_dict(as_dict(document.get("components")).get("schemas"))
        for schema in schemas.values():
            kinds = as_dict(schema).get(_KINDS)
            if isinstance(kinds, list) and _RAY_CLUSTER in kinds:
                return cls._of_schema(as_dict(schema))
        return cls()

    @classmethod
    def _of_schema(cls, schema: Mapping[str, Any]) -> "KubeRayOperator":
        fields = _fields(as_dict(_fields(schema).get("spec")))
        # A schema that lists no fields keeps all of them.
        if not fields:
            return cls()
        return cls(
            tokens="authOptions" in fields,
            kubernetes_tokens="enableK8sTokenAuth" in _fields(as_dict(fields.get("authOptions"))),
            network_policy="networkPolicy" in fields,
        )

    @property
    def drops_network_policy(self) -> bool:
        """True if the API server drops `spec.networkPolicy`."""
        return self.network_policy is False

    @property
    def refuses_network_policy(self) -> bool:
        """True if it refuses a RayCluster with `spec.networkPolicy`: the feature gate is off."""
        return self.gates is not None and NETWORK_POLICY_GATE not in self.gates


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_dict(schema.get("properties"))


def _is_since(release: tuple[int, ...], first: tuple[int, ...]) -> bool | None:
    """True if `release` is `first` or later; None if it lacks the number that decides."""
    length = len(first)
    if len(release) < length and release == first[: len(release)]:
        return None
    return release[:length] >= first
