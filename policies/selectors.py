"""Label selectors, as Kubernetes matches them (apimachinery `labels.Selector`)."""

from collections.abc import Mapping
from typing import Any

from policies.reading import elements, mapping, text, texts


def selects(selector: Any, labels: Mapping[str, Any]) -> bool:
    """A LabelSelector matches `labels`; an empty one matches everything, what is no selector matches nothing."""
    if not isinstance(selector, dict):
        return False
    return holds(mapping(selector.get("matchLabels")), labels) and all(
        _expression_holds(expression, labels) for _, expression in elements(selector.get("matchExpressions"))
    )


def holds(wanted: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Every one of the `wanted` labels is there, with that value; null is the empty value, as in Kubernetes."""
    return all(name in labels and (labels[name] or "") == (value or "") for name, value in wanted.items())


def _expression_holds(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, values = text(expression.get("key")), [value for _, value in texts(expression.get("values"))]
    match expression.get("operator"):
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    return False
