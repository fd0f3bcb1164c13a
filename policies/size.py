"""Is an object small enough to be judged? Rules are linear in what they look at, and the server has one thread."""

from collections.abc import Mapping
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import metadata_of
from policies.documents.untyped import as_dict
from policies.ray.workload import Workload

# Several times what anybody has been seen to run.
MOST_GROUPS = 250
MOST_CONTAINERS = 2_000
MOST_VALUES = 50_000
# Few rules look at these, and large ones are ordinary: thousands of hosts in an Ingress, all networks of a cloud.
MOST_RELATED_VALUES = 250_000
MOST_CHARACTERS = 1_500_000

_LISTED = ("containers", "initContainers", "ephemeralContainers")
# Written by the API server, and read by no rule.
_NOT_COUNTED = ("managedFields",)


def excess(subject: Workload | RelatedObject, size: int | None = None) -> str:
    """What there is too much of in an object; empty where it is small enough. Stops counting when it is not.

    `size` is that of the JSON text it came in (bytes; None where it is not known): little text needs no counting.
    """
    if isinstance(subject, Workload):
        spec = subject.cluster.spec if subject.cluster else {}
        listed = (
            spec.get("workerGroupSpecs"),
            as_dict(spec.get("networkPolicy")).get("workerGroups"),
        )
        if any(_length(groups) > MOST_GROUPS for groups in listed):
            return "worker groups"
        # By the raw lists: to make a view of each would be the work that is to be saved.
        if (
            sum(_length(pod.spec.get(listed)) for pod in subject.pods for listed in _LISTED)
            > MOST_CONTAINERS
        ):
            return "containers"
    most = values_of(subject)
    # A value takes two bytes at least, with what keeps it from the next.
    return (
        "" if size is not None and size <= 2 * most else _excess_of_values(subject.document, most)
    )


def values_of(subject: Workload | RelatedObject) -> int:
    """How many values an object may have."""
    return MOST_VALUES if isinstance(subject, Workload) else MOST_RELATED_VALUES


def _excess_of_values(document: Mapping[str, Any], most: int) -> str:
    metadata = {
        name: value for name, value in metadata_of(document).items() if name not in _NOT_COUNTED
    }
    waiting: list[Any] = [
        metadata,
        *(value for name, value in document.items() if name not in ("metadata", "status")),
    ]
    values = characters = 0
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            waiting += value.values()
            values += len(value)
            characters += sum(map(len, value))
        elif isinstance(value, list):
            waiting += value
            values += len(value)
        if values > most:
            return "values"
    return "characters" if characters > MOST_CHARACTERS else ""


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else 0
