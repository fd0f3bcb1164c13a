"""What a NetworkPolicy does to a pod: does it isolate it, and whom does it let in? (Kubernetes networking/v1)"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.cluster.exposure import few_are_in
from policies.cluster.selectors import Selector, selects
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, dict_items, larger, str_items
from policies.ray.workload import RAY_GROUP

_INGRESS = ROOT / "spec" / "ingress"
_LARGEST = 65536
_LARGEST_SELECTOR = 4096
_MOST_OPEN_RULES = 64
_MOST_SPANS = 64
_MOST_EXCEPTIONS = 32
# A namespace of which nothing is known but that it has a name, which the API server makes a label of.
_A_STRANGERS = {"kubernetes.io/metadata.name": ""}

Ports = tuple[range, ...]
_ALL: Ports = (range(65536),)


@dataclass(frozen=True, slots=True)
class OpenRule:
    """An ingress rule that lets everyone in: where it stands in its object, and to which TCP ports."""

    pointer: Pointer
    ports: Ports


@dataclass(frozen=True, slots=True)
class NetworkPolicy:
    """One policy. `isolates`: what it selects can be reached only as policies say; `owner`: the controller's name.

    Rules that let in whoever asks, or whole networks of strangers, are in `open`. A policy too large to look into
    counts as one that isolates nothing and lets everyone in; a selector too large, as one that selects every pod.
    """

    name: str
    selector: Selector
    isolates: bool
    open: tuple[OpenRule, ...]
    owner: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "NetworkPolicy":
        """The policy in a NetworkPolicy object."""
        metadata, spec = as_dict(document.get("metadata")), as_dict(document.get("spec"))
        selector, types = as_dict(spec.get("podSelector")), spec.get("policyTypes")
        too_large = larger(selector, _LARGEST_SELECTOR)
        # Where no types are given, Ingress is always one; where it is none, ingress rules mean nothing.
        isolates = "Ingress" in types if isinstance(types, list) and types else True
        rules = _open_rules(spec.get("ingress")) if isolates else ()
        return cls(
            name=as_str(metadata.get("name")),
            selector=Selector.of({} if too_large else selector),
            isolates=isolates and rules is not None and not too_large,
            open=(OpenRule(_INGRESS, _ALL),) if rules is None else rules,
            owner=_ray_cluster(metadata),
        )

    def selects(self, labels: Mapping[str, Any]) -> bool:
        return self.selector.matches(labels)

    @property
    def selected_names(self) -> Iterator[str]:
        """The names of the labels it asks for."""
        yield from self.selector.labels
        yield from (key for key, _, _ in self.selector.expressions)

    def open_rules(self, *ports: int) -> Iterator[Pointer]:
        """Where in its object it lets everyone reach one of `ports` (TCP)."""
        return (rule.pointer for rule in self.open if _reaches(rule, ports))


def lets_everyone_in(rule: Mapping[str, Any], ports: Collection[int]) -> bool:
    """An ingress rule admits whoever asks, or whole networks of strangers, to one of `ports` (TCP).

    So does one too large to look into.
    """
    found = _open_rules([rule])
    return found is None or any(_reaches(one, ports) for one in found)


def _reaches(rule: OpenRule, ports: Collection[int]) -> bool:
    return any(port in span for span in rule.ports for port in ports)


def _ray_cluster(metadata: Mapping[str, Any]) -> str:
    """The name of the RayCluster that is its controller; empty where none is."""
    for _, owner in dict_items(metadata.get("ownerReferences")):
        group, _, _ = as_str(owner.get("apiVersion")).rpartition("/")
        if owner.get("controller") is True and (group, owner.get("kind")) == (
            RAY_GROUP,
            "RayCluster",
        ):
            return as_str(owner.get("name"))
    return ""


def _open_rules(ingress: Any) -> tuple[OpenRule, ...] | None:
    """The rules among these that let everyone in; None where there is too much to look into."""
    if larger(ingress, _LARGEST):
        return None
    found = tuple(
        OpenRule(_INGRESS / index, ports)
        for index, rule in dict_items(ingress)
        if _everyone_is_in(rule.get("from")) and (ports := _ports(rule.get("ports")))
    )
    return found if len(found) <= _MOST_OPEN_RULES else None


def _everyone_is_in(peers: Any) -> bool:
    """No peers at all are everyone; the ranges of one rule count together."""
    listed = [peer for _, peer in dict_items(peers)]
    blocks = [as_dict(peer.get("ipBlock")) for peer in listed if as_dict(peer.get("ipBlock"))]
    # To take exceptions out of ranges is dear, and nobody needs many.
    many = _holes(blocks) > _MOST_EXCEPTIONS
    return (
        not peers
        or any(map(_is_everyone, listed))
        or bool(blocks and (many or not few_are_in(map(_range, blocks))))
    )


def _is_everyone(peer: Mapping[str, Any]) -> bool:
    namespaces, pods = peer.get("namespaceSelector"), peer.get("podSelector")
    # Without a namespaceSelector these are pods of the policy's own namespace.
    return selects(namespaces, _A_STRANGERS) and (pods is None or selects(pods, {}))


def _holes(blocks: Iterable[Mapping[str, Any]]) -> int:
    return sum(len(listed) for block in blocks if isinstance(listed := block.get("except"), list))


def _range(block: Mapping[str, Any]) -> tuple[str, list[str]]:
    return as_str(block.get("cidr")), [one for _, one in str_items(block.get("except"))]


def _ports(listed: Any) -> Ports:
    """The TCP ports in a rule's list, which are all of them where it is empty, or too long to be kept."""
    tcp = (port for _, port in dict_items(listed) if port.get("protocol") in (None, "", "TCP"))
    spans = tuple(_together(map(_span, tcp)))
    return spans if listed and len(spans) <= _MOST_SPANS else _ALL


def _span(port: Mapping[str, Any]) -> range:
    first, last = port.get("port"), port.get("endPort")
    if not isinstance(first, int):
        # A named port is whatever the pod says; none is every port.
        return _ALL[0]
    return range(first, (last if isinstance(last, int) else first) + 1)


def _together(spans: Iterable[range]) -> Iterator[range]:
    """The same ports in as few spans as hold them."""
    begin = end = 0
    for span in sorted(spans, key=lambda one: one.start):
        if span.start > end:
            if begin < end:
                yield range(begin, end)
            begin, end = span.start, span.stop
        end = max(end, span.stop)
    if begin < end:
        yield range(begin, end)
