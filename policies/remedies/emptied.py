"""Parents that edits leave empty: they go, too, where empty and absent mean the same."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from policies.documents.pointer import Pointer
from policies.remedies.edits import Append, Remove, Rename, SetMember

DocumentEdit = SetMember | Rename | Remove | Append

# In Kubernetes an empty list or object is often a statement: `emptyDir: {}`, `ingress: []`.
_SAME_AS_ABSENT = frozenset(
    [
        "add",
        "annotations",
        "capabilities",
        "env",
        "envFrom",
        "hostAliases",
        "securityContext",
        "sysctls",
        "volumeDevices",
        "volumeMounts",
        "volumes",
    ]
)


def with_empty_parents(document: Any, edits: Iterable[DocumentEdit]) -> list[DocumentEdit]:
    """The edits of `document`; those that remove all that is in a parent remove the parent."""
    removed: dict[Pointer, set[str | int]] = defaultdict(set)
    others: list[DocumentEdit] = []
    # What other edits change, and all that contains it.
    changed: set[Pointer] = set()
    containing: set[Pointer] = set()
    for edit in edits:
        if isinstance(edit, Remove):
            removed[edit.pointer.parent].add(edit.pointer[-1])
        else:
            others.append(edit)
            changed.add(edit.pointer)
            containing.update(_above(edit.pointer))
    waiting = list(removed)
    while waiting:
        place = waiting.pop()
        is_optional = place[-1:] and place[-1] in _SAME_AS_ABSENT
        is_free = place not in containing and changed.isdisjoint([place, *_above(place)])
        if is_optional and is_free and _is_all(place.read(document), removed[place]):
            del removed[place]
            removed[place.parent].add(place[-1])
            waiting.append(place.parent)
    return [*others, *(Remove(place / name) for place in removed for name in removed[place])]


def _above(place: Pointer) -> list[Pointer]:
    return [Pointer(place[:end]) for end in range(len(place))]


def _is_all(value: Any, names: set[str | int]) -> bool:
    """Whether an object or a list has nothing besides these members or items."""
    if isinstance(value, list):
        return set(range(len(value))) <= names
    return isinstance(value, dict) and value.keys() <= names
