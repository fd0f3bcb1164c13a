"""What is known of the KubeRay operator that runs in a cluster."""

import re
from dataclasses import dataclass

# The first version with `spec.networkPolicy`, and the feature gate without which it refuses it
# (KubeRay 1.7, `pkg/features/features.go`).
_NETWORK_POLICY_SINCE = (1, 7)
NETWORK_POLICY_GATE = "RayClusterNetworkPolicy"
_VERSION = re.compile(r"v?([0-9]{1,4})\.([0-9]{1,4})([.+-].{0,40})?")


@dataclass(frozen=True, slots=True)
class KubeRayOperator:
    """The version of the operator, and the feature gates that are on.

    `version` is empty if it is unknown.
    """

    version: tuple[int, ...] = ()
    gates: frozenset[str] = frozenset()

    @classmethod
    def of(cls, version: str, gates: str = "") -> "KubeRayOperator | None":
        """The operator by its version, and the value of its option `--feature-gates`.

        None if the text is not a version.
        """
        match = _VERSION.fullmatch(version.strip())
        if match is None:
            return None
        settings = (gate.strip().partition("=") for gate in gates.split(","))
        on = frozenset(name for name, _, value in settings if value.lower() == "true")
        return cls((int(match[1]), int(match[2])), on)

    @property
    def drops_network_policy(self) -> bool:
        """True if its CRDs do not have `spec.networkPolicy`, so that the API server drops it."""
        return bool(self.version) and self.version[:2] < _NETWORK_POLICY_SINCE

    @property
    def accepts_network_policy(self) -> bool:
        """True if it is known to make NetworkPolicies from `spec.networkPolicy`."""
        return NETWORK_POLICY_GATE in self.gates and not self.drops_network_policy
