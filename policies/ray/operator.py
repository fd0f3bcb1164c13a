"""What is known of the KubeRay operator that runs in a cluster."""

from dataclasses import dataclass

# The first version with `spec.networkPolicy`, and the feature gate without which it refuses it
# (KubeRay 1.7, `pkg/features/features.go`).
_NETWORK_POLICY_SINCE = (1, 7)
NETWORK_POLICY_GATE = "RayClusterNetworkPolicy"


@dataclass(frozen=True, slots=True)
class KubeRayOperator:
    """The version of the operator, and the feature gates that are on.

    `version` is empty if it is unknown.
    """

    version: tuple[int, ...] = ()
    gates: frozenset[str] = frozenset()

    @property
    def drops_network_policy(self) -> bool:
        """True if its CRDs do not have `spec.networkPolicy`, so that the API server drops it."""
        return bool(self.version) and self.version[:2] < _NETWORK_POLICY_SINCE

    @property
    def accepts_network_policy(self) -> bool:
        """True if it is known to make NetworkPolicies from `spec.networkPolicy`."""
        return NETWORK_POLICY_GATE in self.gates and not self.drops_network_policy
