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
# The feature gates by the release that added them (off by default), and the one since which they
# are on by default; None if none is (KubeRay, `pkg/features/features.go`).
_GATES: dict[str, tuple[tuple[int, int], tuple[int, int] | None]] = {
    "RayClusterStatusConditions": ((1, 2), (1, 3)),
    "RayJobDeletionPolicy": ((1, 3), (1, 6)),
    "RayMultiHostIndexing": ((1, 5), (1, 6)),
    "RayServiceIncrementalUpgrade": ((1, 5), (1, 7)),
    "RayCronJob": ((1, 6), None),
    "SidecarSubmitterRestart": ((1, 7), None),
    "RayClusterNetworkPolicy": ((1, 7), None),
    "GCSFaultToleranceEmbeddedStorage": ((1, 7), None),
    "RayClusterMTLS": ((1, 7), None),
    "RayClusterHistoryServer": ((1, 7), None),
    "KubernetesWAS": ((1, 7), None),
}
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})(?:\.([0-9]{1,4}))?([.+-].{0,40})?")
# The release of a KubeRay that knows none of the fields by which the others are told apart.
_OLDEST = (1, 5, 0)
_KINDS = "x-kubernetes-group-version-kind"
_RAY_CLUSTER = {"group": RAY_GROUP, "version": "v1", "kind": "RayCluster"}


@dataclass(frozen=True, slots=True)
class KubeRayOperator:
    """The fields of RayClusters that not every release has, and the feature gates that are on.

    The API server drops a field that the CustomResourceDefinition does not have, without an error.
    `tokens`: `authOptions`. `kubernetes_tokens`: its field `enableK8sTokenAuth`. `network_policy`:
    `networkPolicy`. None means "unknown". `release` is the version as far as it is known, such as
    (1, 6).
    """

    tokens: bool | None = None
    kubernetes_tokens: bool | None = None
    network_policy: bool | None = None
    gates: frozenset[str] | None = None
    release: tuple[int, ...] | None = None

    @classmethod
    def of_release(cls, version: str, gates: str = "") -> "KubeRayOperator | None":
        """The operator by its version, and the value of its option `--feature-gates`.

        None if the text is not a version.
        """
        match = _VERSION.fullmatch(version.strip())
        if match is None:
            return None
        release = tuple(int(number) for number in match.group(1, 2, 3) if number)
        return cls(
            tokens=_is_since(release, TOKENS_SINCE),
            kubernetes_tokens=_is_since(release, KUBERNETES_TOKENS_SINCE),
            network_policy=_is_since(release, NETWORK_POLICY_SINCE),
            gates=_gates_of(release, gates),
            release=release,
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
        tokens = "authOptions" in fields
        kubernetes_tokens = "enableK8sTokenAuth" in _fields(as_dict(fields.get("authOptions")))
        network_policy = "networkPolicy" in fields
        since = {
            NETWORK_POLICY_SINCE: network_policy,
            KUBERNETES_TOKENS_SINCE: kubernetes_tokens,
            TOKENS_SINCE: tokens,
        }
        return cls(
            tokens=tokens,
            kubernetes_tokens=kubernetes_tokens,
            network_policy=network_policy,
            release=next((release for release, has in since.items() if has), _OLDEST),
        )

    def is_before(self, major: int, minor: int) -> bool:
        """True if it is known to be older than this release; an unknown one is the newest."""
        return self.release is not None and self.release[:2] < (major, minor)

    def is_off(self, gate: str) -> bool:
        """True if the feature gate is known to be off."""
        return self.gates is not None and gate not in self.gates

    def is_on(self, gate: str) -> bool:
        """True if the feature gate is on; if the gates are unknown, by its default."""
        if self.gates is not None:
            return gate in self.gates
        default_since = _GATES[gate][1]
        return default_since is not None and not self.is_before(*default_since)

    @property
    def drops_network_policy(self) -> bool:
        """True if the API server drops `spec.networkPolicy`."""
        return self.network_policy is False

    @property
    def refuses_network_policy(self) -> bool:
        """True if it refuses a RayCluster with `spec.networkPolicy`: the feature gate is off."""
        return self.is_off(NETWORK_POLICY_GATE)


def _gates_of(release: tuple[int, ...], gates: str) -> frozenset[str]:
    """The gates that are on: the release's defaults, and what the option says of them."""
    chosen: dict[str, bool] = {}
    for setting in gates.split(","):
        name, _, value = setting.strip().partition("=")
        chosen[name] = value.lower() == "true"
    enabled = {name for name, is_chosen in chosen.items() if is_chosen}
    for name, (added, default_since) in _GATES.items():
        if release[:2] < added or name in chosen:
            continue
        is_beta = default_since is not None and release[:2] >= default_since
        if chosen.get("AllBeta" if is_beta else "AllAlpha", is_beta):
            enabled.add(name)
    return frozenset(enabled)


def _fields(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return as_dict(schema.get("properties"))


def _is_since(release: tuple[int, ...], first: tuple[int, ...]) -> bool | None:
    """True if `release` is `first` or later; None if it lacks the number that decides."""
    length = len(first)
    if len(release) < length and release == first[: len(release)]:
        return None
    return release[:length] >= first
