"""The type of the tables: what authenticates at a controller, and what it needs beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from policies.documents.untyped import as_str, dict_items


@dataclass(frozen=True, slots=True)
class IngressView:
    """An Ingress or OpenShift Route as one controller reads it.

    `annotations` are the controller's own, by their name without prefix. `conflicting` are names
    that have different values under two prefixes.
    """

    annotations: Mapping[str, str]
    spec: Mapping[str, Any]
    conflicting: frozenset[str] = frozenset()

    def value(self, name: str) -> str:
        """The value of an annotation; a missing one reads as ""."""
        return self.annotations.get(name, "")

    def first_value(self, *names: str) -> str:
        """The value of the first of these annotations that is not empty."""
        return next(filter(None, map(self.value, names)), "")

    @property
    def rules(self) -> list[Mapping[str, Any]]:
        return [rule for _, rule in dict_items(self.spec.get("rules"))]

    @property
    def has_default_backend(self) -> bool:
        # v1beta1 calls it `backend`.
        return bool(self.spec.get("defaultBackend") or self.spec.get("backend"))


@dataclass(frozen=True, slots=True)
class Need:
    """What a method needs to take effect, and the remediation where it is missing."""

    is_met: Callable[[IngressView], bool]
    remediation: str


@dataclass(frozen=True, slots=True)
class Method:
    """A way in which a controller authenticates callers, or accepts only some networks."""

    is_on: Callable[[IngressView], bool]
    needs: tuple[Need, ...] = ()

    def missing(self, ingress: IngressView) -> list[str]:
        """The remediations of the needs that are not met."""
        return [need.remediation for need in self.needs if not need.is_met(ingress)]


@dataclass(frozen=True, slots=True)
class ServiceOverride:
    """An annotation of a Service that the controller prefers to the annotations of an Ingress.

    `is_safe` is true for the values that leave the authentication of an Ingress on.
    """

    annotation: str
    is_safe: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Controller:
    """What an Ingress controller does with its annotations.

    `classes`: parts of the names of its Ingress classes. `prefixes`: of its annotations, in the
    order in which it prefers them; "" reads annotations without a prefix. `suggestion`: how to turn
    authentication on. `passes_tls_through`: it connects callers to Ray with Ray's own TLS, and
    connects to Ray in no other way.
    """

    classes: tuple[str, ...]
    prefixes: tuple[str, ...]
    methods: tuple[Method, ...]
    suggestion: str = ""
    passes_tls_through: Callable[[IngressView], bool] = field(default=lambda _: False)
    service_overrides: tuple[ServiceOverride, ...] = ()

    def view(self, annotations: Mapping[str, Any], spec: Mapping[str, Any]) -> IngressView:
        """The view of an object with these annotations."""
        known: dict[str, str] = {}
        conflicting = set[str]()
        for prefix in self.prefixes:
            for full_name, value in annotations.items():
                owner, _, name = full_name.rpartition("/")
                if owner == prefix and known.setdefault(name, as_str(value)) != as_str(value):
                    conflicting.add(name)
        return IngressView(known, spec, frozenset(conflicting))

    def authenticates(self, ingress: IngressView) -> bool:
        """True if it authenticates every caller of this Ingress, or accepts few networks."""
        return any(method.is_on(ingress) and not method.missing(ingress) for method in self.methods)

    def missing(self, ingress: IngressView) -> list[str]:
        """The remediations for the method that is on and needs the least; empty if none is on."""
        remediations = (method.missing(ingress) for method in self.methods if method.is_on(ingress))
        return min(filter(None, remediations), key=len, default=[])


# For controllers that read an annotation under several prefixes.
ONE_PREFIX = Need(
    lambda ingress: not ingress.conflicting,
    "write each annotation with one prefix only, because two of them contradict each other",
)
