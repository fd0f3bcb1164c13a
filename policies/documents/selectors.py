"""Label selectors, matched as Kubernetes does (apimachinery `labels.Selector`)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items, str_items

# A value that no selector lists: Kubernetes refuses it as a label.
_ANY_OTHER = "/"


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """True if a LabelSelector matches `labels`.

    An empty selector matches everything; a value that is not an object matches nothing.
    """
    return isinstance(selector, dict) and Selector.of(selector).matches(labels)


@dataclass(frozen=True, slots=True)
class Selector:
    """A parsed LabelSelector, to be matched against many sets of labels.

    `expressions` are (key, operator, values).
    """

    labels: Mapping[str, Any]
    expressions: tuple[tuple[str, str, frozenset[str]], ...]

    @classmethod
    def of(cls, selector: Mapping[str, Any]) -> "Selector":
        """The view of a LabelSelector object."""
        expressions = []
        for _, expression in dict_items(selector.get("matchExpressions")):
            key, operator = as_str(expression.get("key")), as_str(expression.get("operator"))
            values = frozenset(value for _, value in str_items(expression.get("values")))
            expressions.append((key, operator, values))
        return cls(as_dict(selector.get("matchLabels")), tuple(expressions))

    def without(self, is_ignored: Callable[[str], bool]) -> "Selector":
        """The selector without its requirements on the labels that `is_ignored` names."""
        labels = {name: value for name, value in self.labels.items() if not is_ignored(name)}
        kept = (term for term in self.expressions if not is_ignored(term[0]))
        return Selector(labels, tuple(kept))

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """True if `labels` satisfy the selector; an empty selector matches everything."""
        return has_labels(self.labels, labels) and all(
            _satisfies(*expression, labels) for expression in self.expressions
        )

    @property
    def is_satisfiable(self) -> bool:
        """True unless the selector contradicts itself, so that no labels can satisfy it."""
        return all(self._is_satisfiable(key) for key in self.names)

    def reads_other_than(self, name: str) -> bool:
        """True if the answer depends on labels with another name than `name`."""
        return any(key != name for key in self.names)

    def reads(self, name: str) -> bool:
        """True if the answer depends on the label `name`."""
        return name in self.names

    @property
    def parts(self) -> int:
        """The number of its labels, expressions and their values."""
        return len(self.labels) + sum(1 + len(values) for _, _, values in self.expressions)

    @property
    def names(self) -> frozenset[str]:
        """The names of the labels that it reads."""
        return frozenset(self.labels).union(key for key, _, _ in self.expressions)

    def _is_satisfiable(self, key: str) -> bool:
        """True if one value of the label, or its absence, satisfies all parts about it."""
        parts = [part for part in self.expressions if part[0] == key]
        candidates: set[str | None] = {None, _ANY_OTHER}
        for _, _, values in parts:
            candidates |= values
        if key in self.labels:
            candidates = {as_str(self.labels[key])}
        choices: list[dict[str, str]] = [
            {} if value is None else {key: value} for value in candidates
        ]
        return any(_satisfies_all(parts, labels) for labels in choices)


def _satisfies_all(
    parts: Iterable[tuple[str, str, frozenset[str]]], labels: Mapping[str, Any]
) -> bool:
    return all(_satisfies(*part, labels) for part in parts)


def has_labels(wanted: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """True if `labels` contain each of the `wanted` labels with its value.

    null equals the empty value, as in Kubernetes.
    """
    return all(
        name in labels and (labels[name] or "") == (value or "") for name, value in wanted.items()
    )


def _satisfies(key: str, operator: str, values: frozenset[str], labels: Mapping[str, Any]) -> bool:
    match operator:
        case "In":
            return as_str(labels.get(key)) in values and key in labels
        case "NotIn":
            return key not in labels or as_str(labels[key]) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
