"""Label and field selectors, as an API server understands them."""

import re
from collections.abc import Mapping
from typing import Any


def is_selected(document: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    """Whether the labels match: `name`, `!name`, `name=value`, `name!=value`, `name in (value)`.

    Of field selectors, only that of a pod's phase counts.
    """
    fields = query.get("fieldSelector", "")
    if fields.startswith("status.phase="):
        phase = document.get("status", {}).get("phase", "Pending")
        if phase != fields.removeprefix("status.phase="):
            return False
    terms = filter(None, re.split(r",(?![^(]*\))", query.get("labelSelector", "")))
    return all(_matches(term, document["metadata"].get("labels", {})) for term in terms)


def _matches(term: str, labels: Mapping[str, str]) -> bool:
    name, equal, value = term.partition("=")
    if equal:
        return (labels.get(name.rstrip("!")) == value) is not name.endswith("!")
    name, operator, values = term.partition(" in ")
    if operator:
        return labels.get(name) in [value.strip() for value in values.strip("()").split(",")]
    return (term.lstrip("!") in labels) is not term.startswith("!")
