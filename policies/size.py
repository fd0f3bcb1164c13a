"""Is an object small enough to be judged? Rules are linear in what they look at, and the server has one thread."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.neighbour import Neighbour
from policies.pod import Pod
from policies.workload import Workload

# Several times what anybody has been seen to run.
MOST_GROUPS = 250
MOST_CONTAINERS = 2_000
MOST_ENTRIES = 20_000

_LISTED = ("containers", "initContainers", "ephemeralContainers")
_ENTRIES = ("env", "envFrom", "volumeMounts", "ports", "command", "args")


def excess(subject: Workload | Neighbour) -> str:
    """What there is too much of in an object; empty where it is small enough. Stops counting when it is not."""
    if isinstance(subject, Neighbour):
        return "values" if _values_exceed(subject.document, MOST_ENTRIES) else ""
    if subject.cluster and _length(subject.cluster.spec.get("workerGroupSpecs")) > MOST_GROUPS:
        return "worker groups"
    # By the raw lists: to make a view of each would be the work that is to be saved.
    if sum(_length(pod.spec.get(listed)) for pod in subject.pods for listed in _LISTED) > MOST_CONTAINERS:
        return "containers"
    return "entries" if sum(_entries(subject)) > MOST_ENTRIES else ""


def _entries(workload: Workload) -> Iterator[int]:
    yield len(workload.labels) + len(workload.annotations)
    for group in workload.cluster.groups if workload.cluster else ():
        yield len(group.start_params)
        yield from (_length(group.raw.get(name)) for name in ("resources", "labels"))
    for pod in workload.pods:
        yield from _entries_of_pod(pod)


def _entries_of_pod(pod: Pod) -> Iterator[int]:
    yield len(pod.labels) + len(pod.annotations) + _length(pod.spec.get("volumes"))
    for container in pod.containers:
        raw = container.raw
        yield sum(len(value) for name in _ENTRIES if isinstance(value := raw.get(name), list))


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 0


def _values_exceed(document: Mapping[str, Any], most: int) -> bool:
    waiting: list[Any] = [document]
    seen = 0
    while waiting:
        value = waiting.pop()
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        seen += len(children)
        if seen > most:
            return True
        waiting += children
    return False
