"""Label selectors, as Kubernetes matches them (apimachinery `labels.Selector`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items, str_items


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """A LabelSelector matches `labels`; an empty one matches everything, what is no selector matches nothing."""
    return isinstance(selector, dict) and Selector.of(selector).matches(labels)


@dataclass(frozen=True, slots=True)
class Selector:
    """A LabelSelector made ready to be held against many labels."""

    labels: Mapping[str, Any]
    expressions: tuple[tuple[str, str, frozenset[str]], ...]

    @classmethod
    def of(cls, selector: Mapping[str, Any]) -> "Selector":
        """What a LabelSelector object says."""
        expressions = tuple(
            (
                as_str(one.get("key")),
                as_str(one.get("operator")),
                frozenset(value for _, value in str_items(one.get("values"))),
            )
            for _, one in dict_items(selector.get("matchExpressions"))
        )
        return cls(as_dict(selector.get("matchLabels")), expressions)

    def matches(self, labels: Mapping[str, Any]) -> bool:
        """It matches `labels`; an empty one matches everything."""
        return holds(self.labels, labels) and all(
            _holds(*expression, labels) for expression in self.expressions
        )


def holds(wanted: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Every one of the `wanted` labels is there, with that value; null is the empty value, as in Kubernetes."""
    return all(
        name in labels and (labels[name] or "") == (value or "") for name, value in wanted.items()
    )


def _holds(key: str, operator: str, values: frozenset[str], labels: Mapping[str, Any]) -> bool:
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
