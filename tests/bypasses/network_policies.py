"""NetworkPolicies for the tests of rows 62 and 63."""

from typing import Any

from tests.support import related_objects
from tests.support.factory import Object, changed

PRESENT = {"network-policy-present"}


def policy(*rules: Object, name: str = "mine", selects: Object | None = None) -> Object:
    """A NetworkPolicy of the namespace that selects every pod of it, or those with labels."""
    selector = {"matchLabels": selects} if selects else {}
    changes = {"/metadata/name": name, "/spec/ingress": [*rules], "/spec/podSelector": selector}
    return changed(related_objects.network_policy(), changes)


def port(*ports: Any) -> Object:
    """An ingress rule for everyone to these ports: numbers, names, or a first and a last."""
    listed = []
    for entry in ports:
        first, last = entry if isinstance(entry, tuple) else (entry, None)
        listed.append({"port": first} | ({"endPort": last} if last else {}))
    return {"ports": listed}


def peers(*blocks: str) -> Object:
    return {"from": [{"ipBlock": {"cidr": block}} for block in blocks]}


def networks(count: int) -> list[str]:
    """The first public networks of a /8 each."""
    private = (10, 127)
    return [f"{first}.0.0.0/8" for first in range(1, 224) if first not in private][:count]


def kuberays_policy(*rules: Object) -> Object:
    return {"mode": "DenyAll", "head": {"ingressRules": [*rules]}}
