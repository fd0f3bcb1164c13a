"""The changes to a Kubernetes object as a JSON Patch (RFC 6902)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from policies.documents.pointer import Pointer

Operation = dict[str, Any]

# From this many operations below `spec` on, it costs the API server less to replace the whole spec:
# each operation opens the JSON text on its path, level by level, and all that is opened is written
# and checked again at each level above it. The 18 operations of a worker pod take it a third more
# time and half more memory than the whole spec, although that makes the answer three times as long.
_MANY = 10

# `insert` adds several elements to a list.
Verb = Literal["add", "replace", "remove", "insert"]
# What was done, at which object or list, to which member or index; the new value or values; the
# changed object or list itself; what it had there before, or for `insert` the first index.
Change = tuple[Verb, Pointer, Any, Any, Any, Any]


def operations_of(changes: Iterable[Change]) -> list[Operation]:
    """The operations that make the changes one by one."""
    operations: list[Operation] = []
    texts: dict[Pointer, str] = {}
    for verb, holder, key, value, _, before in changes:
        text = texts.get(holder)
        if text is None:
            text = texts[holder] = str(holder)
        path = f"{text}/{key}"
        if isinstance(key, str) and ("/" in key or "~" in key):
            path = f"{text}{Pointer((key,))}"
        if verb == "insert":
            for index, element in enumerate(value, before):
                operations.append({"op": "add", "path": f"{path}/{index}", "value": element})
        elif verb == "remove":
            operations.append({"op": "remove", "path": path})
        else:
            operations.append({"op": verb, "path": path, "value": value})
    return operations


def compact(changes: Sequence[Change], document: Mapping[str, Any]) -> list[Operation]:
    """Operations with the same result `document`, which the API server applies at less cost."""
    others: list[Change] = []
    below_spec = 0
    for change in changes:
        verb, holder, _, value, _, _ = change
        if holder and holder[0] == "spec":
            below_spec += len(value) if verb == "insert" else 1
        else:
            others.append(change)
    if below_spec < _MANY:
        return operations_of(changes)
    return [*operations_of(others), {"op": "replace", "path": "/spec", "value": document["spec"]}]
