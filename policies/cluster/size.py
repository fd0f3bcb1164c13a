"""Limits on the size of an object. Rules take linear time in it, and the server has one thread."""

from collections.abc import Mapping
from typing import Any

from policies.cluster.related_object import RelatedObject
from policies.documents.metadata import metadata_of
from policies.documents.untyped import as_dict, list_length
from policies.ray.pod import CONTAINER_LISTS
from policies.ray.workload import Workload

# Several times the size of the largest known Ray clusters.
MAX_GROUPS = 250
MAX_CONTAINERS = 2_000
MAX_VALUES = 50_000
# Few rules check related objects, and large ones are common: an Ingress with thousands of hosts, a
# NetworkPolicy with all networks of a cloud.
MAX_RELATED_VALUES = 250_000
# About what etcd stores in one object (1.5 MiB by default).
MAX_CHARACTERS = 1_500_000

# The API server writes these, and no rule reads them.
_NOT_COUNTED = ("managedFields",)


def exceeded_limit(subject: Workload | RelatedObject, size: int | None = None) -> str:
    """The plural noun for what the object has too many of; empty if it is small enough.

    `size` is the size in bytes of the JSON text the object came in, or None if it is unknown. A
    short text needs no counting.
    """
    if isinstance(subject, Workload):
        if _has_too_many_groups(subject):
            return "worker groups"
        if _has_too_many_containers(subject):
            return "containers"
    max_values = max_values_of(subject)
    # A value takes at least two bytes: one for itself and one for its separator.
    if size is not None and size <= 2 * max_values:
        return ""
    return _excess_of_values(subject.document, max_values)


def max_values_of(subject: Workload | RelatedObject) -> int:
    """How many values an object may have."""
    return MAX_VALUES if isinstance(subject, Workload) else MAX_RELATED_VALUES


def _has_too_many_groups(workload: Workload) -> bool:
    spec = workload.cluster.spec if workload.cluster else {}
    network_policy = as_dict(spec.get("networkPolicy"))
    return (
        list_length(spec.get("workerGroupSpecs")) > MAX_GROUPS
        or list_length(network_policy.get("workerGroups")) > MAX_GROUPS
    )


def _has_too_many_containers(workload: Workload) -> bool:
    # Counts the raw lists: building a view of each container is the work this check prevents.
    containers = 0
    for pod in workload.pods:
        for name in CONTAINER_LISTS:
            containers += list_length(pod.spec.get(name))
    return containers > MAX_CONTAINERS


def _excess_of_values(document: Mapping[str, Any], max_values: int) -> str:
    """`values` or `characters` if there are too many. Stops counting at the limit of values."""
    metadata = metadata_of(document).items()
    pending: list[Any] = [{name: value for name, value in metadata if name not in _NOT_COUNTED}]
    pending += (value for name, value in document.items() if name not in ("metadata", "status"))
    values = characters = 0
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            characters += len(value)
        elif isinstance(value, dict):
            pending += value.values()
            values += len(value)
            characters += sum(map(len, value))
        elif isinstance(value, list):
            pending += value
            values += len(value)
        if values > max_values:
            return "values"
    return "characters" if characters > MAX_CHARACTERS else ""
