"""What is kept of the objects of one resource, and how it is found: by namespace and name, whatever else there is."""

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from certs.identity import Cluster, Service
from policies.cluster.state import LiveCluster, LiveService, namespaces_in_quota
from webhook.kube.objects import ray_cluster_of, service_of

T = TypeVar("T")

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Store(Protocol):
    """What a watch fills. The namespace of what has none is ""."""

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        """Keep what is of use of a raw object; raises ValueError for one that cannot be understood."""
        ...

    def drop(self, namespace: str, name: str) -> None:
        """Forget everything an object has left here, if anything."""
        ...

    def __len__(self) -> int:
        """How many objects there are."""
        ...


class ByNamespace(Generic[T]):
    """Values by namespace and name. `within` hands out what is kept, not a copy: it changes, and costs nothing."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, T]] = {}

    def get(self, namespace: str, name: str) -> T | None:
        return self.within(namespace).get(name)

    def within(self, namespace: str) -> Mapping[str, T]:
        """The values of a namespace by name."""
        return self._values.get(namespace, _NOTHING)

    def values(self) -> Iterator[T]:
        """Every value, in no order."""
        return (value for inside in self._values.values() for value in inside.values())

    def set(self, namespace: str, name: str, value: T) -> None:
        self._values.setdefault(namespace, {})[name] = value

    def drop(self, namespace: str, name: str) -> None:
        inside = self._values.get(namespace, {})
        inside.pop(name, None)
        # Namespaces come and go, and their names are of strangers' choosing.
        if not inside:
            self._values.pop(namespace, None)

    def __len__(self) -> int:
        return sum(map(len, self._values.values()))


class Objects(ByNamespace[T]):
    """Each object as `convert` makes it, which may raise ValueError."""

    def __init__(self, convert: Callable[[Mapping[str, Any]], T]) -> None:
        super().__init__()
        self._convert = convert

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.set(namespace, name, self._convert(document))


class RayClusters:
    """RayClusters as `certs` and as `policies` know them."""

    def __init__(self) -> None:
        self.for_certs = ByNamespace[Cluster]()
        self.for_rules = ByNamespace[LiveCluster]()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        for_certs, for_rules = ray_cluster_of(document), LiveCluster.of(document)
        self.for_certs.set(namespace, name, for_certs)
        self.for_rules.set(namespace, name, for_rules)

    def drop(self, namespace: str, name: str) -> None:
        self.for_certs.drop(namespace, name)
        self.for_rules.drop(namespace, name)

    def __len__(self) -> int:
        return len(self.for_certs)


class Services:
    """Services as `certs` and as `policies` know them, and those of the latter that are public once more."""

    def __init__(self) -> None:
        self.for_certs = ByNamespace[Service]()
        self.for_rules = ByNamespace[LiveService]()
        self.public = ByNamespace[LiveService]()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        for_certs, for_rules = service_of(document), LiveService.of(document)
        self.for_certs.set(namespace, name, for_certs)
        self.for_rules.set(namespace, name, for_rules)
        if for_rules.public:
            self.public.set(namespace, name, for_rules)
        else:
            self.public.drop(namespace, name)

    def drop(self, namespace: str, name: str) -> None:
        self.for_certs.drop(namespace, name)
        self.for_rules.drop(namespace, name)
        self.public.drop(namespace, name)

    def __len__(self) -> int:
        return len(self.for_certs)


class Quotas:
    """The names of quotas by the namespaces they are over, of which one object may name many."""

    def __init__(self) -> None:
        self._names = ByNamespace[str]()
        self._namespaces: dict[tuple[str, str], frozenset[str]] = {}

    def over(self, namespace: str) -> Collection[str]:
        """What limits a namespace."""
        return self._names.within(namespace).values()

    def put(self, namespace: str, name: str, document: Mapping[str, Any]) -> None:
        self.drop(namespace, name)
        self._namespaces[namespace, name] = limited = namespaces_in_quota(document)
        for one in limited:
            self._names.set(one, f"{namespace}/{name}", name)

    def drop(self, namespace: str, name: str) -> None:
        for one in self._namespaces.pop((namespace, name), ()):
            self._names.drop(one, f"{namespace}/{name}")

    def __len__(self) -> int:
        return len(self._namespaces)
