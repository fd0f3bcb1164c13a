"""What a NetworkPolicy does to a pod: does it isolate it, and whom does it let in? (Kubernetes networking/v1)"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.exposure import lets_in_few
from policies.pointer import ROOT, Pointer
from policies.reading import elements, mapping, text
from policies.selectors import selects

_INGRESS = ROOT / "spec" / "ingress"


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """One policy. `isolates`: what it selects can be reached only as policies say; `owner`: the controller's name."""

    name: str
    selector: Mapping[str, Any]
    isolates: bool
    ingress: tuple[tuple[int, Mapping[str, Any]], ...]
    owner: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "NetworkPolicy":
        """The policy in a NetworkPolicy object."""
        metadata, spec = mapping(document.get("metadata")), mapping(document.get("spec"))
        types = spec.get("policyTypes")
        return cls(
            name=text(metadata.get("name")),
            selector=mapping(spec.get("podSelector")),
            # Where no types are given, Ingress is always one.
            isolates="Ingress" in types if isinstance(types, list) and types else True,
            ingress=tuple(elements(spec.get("ingress"))),
            owner=next(
                (
                    text(owner.get("name"))
                    for _, owner in elements(metadata.get("ownerReferences"))
                    if owner.get("controller") is True and owner.get("kind") == "RayCluster"
                ),
                "",
            ),
        )

    def selects(self, labels: Mapping[str, Any]) -> bool:
        return selects(self.selector, labels)

    def open_rules(self, *ports: int) -> Iterator[Pointer]:
        """Where in its object it lets everyone reach one of `ports`."""
        return (_INGRESS / index for index, rule in self.ingress if lets_everyone_in(rule, ports))


def lets_everyone_in(rule: Mapping[str, Any], ports: tuple[int, ...]) -> bool:
    """An ingress rule admits whoever asks, or whole networks of strangers, to one of `ports` (TCP)."""
    peers = rule.get("from")
    everyone = not peers or any(_is_everyone(peer) for _, peer in elements(peers))
    listed = rule.get("ports")
    return everyone and (not listed or any(_is_one_of(port, ports) for _, port in elements(listed)))


def _is_everyone(peer: Mapping[str, Any]) -> bool:
    block = mapping(peer.get("ipBlock"))
    if block:
        return not lets_in_few([text(block.get("cidr"))])
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    # Without a namespaceSelector these are pods of the policy's own namespace.
    return namespaces == {} and not pods


def _is_one_of(port: Mapping[str, Any], ports: tuple[int, ...]) -> bool:
    if port.get("protocol") not in (None, "TCP"):
        return False
    first, last = port.get("port"), port.get("endPort")
    if not isinstance(first, int):
        # A named port is whatever the pod says; none is every port.
        return True
    end = last if isinstance(last, int) else first
    return any(first <= one <= end for one in ports)
