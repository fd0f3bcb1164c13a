"""What a review asks of the world, as small as it can be said. Consumers name the port; `wiring` picks the adapter."""

from collections.abc import Mapping
from typing import Protocol


class Namespaces(Protocol):
    """The labels of namespaces, from memory: the admission path makes no API call."""

    def labels(self, namespace: str) -> Mapping[str, str]:
        """The labels of `namespace`; empty where nothing is known of it, so that the policy's own profiles hold."""
        ...
