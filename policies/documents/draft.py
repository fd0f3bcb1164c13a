"""A working copy of a Kubernetes object that records every change to it as a JSON Patch operation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policies.documents.pointer import Pointer

Operation = dict[str, Any]


class UnreadableValueError(Exception):
    """The document has a shape at `pointer` that no Kubernetes object has, so nothing can be written there."""

    def __init__(self, pointer: Pointer, expected: str, found: Any) -> None:
        super().__init__(f"{pointer or '/'} is {_shape(found)}, not {expected}")


def _shape(value: Any) -> str:
    names = {
        dict: "an object",
        list: "a list",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


class Draft:
    """The object as it will be, and the RFC 6902 operations that lead there.

    Copy on write: the caller's document is never touched, unknown fields survive, and only the containers on the way
    to a change are copied. Missing parents are made, ``null`` counts as missing, and nothing is recorded when nothing
    changes, so applying the operations to the original always gives `document`. Values handed in are never changed
    either: they stand in the operations as they were given.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._root: dict[str, Any] = dict(document)
        # Copies of ours, kept by reference so that an id stays taken for as long as it stands for ownership.
        self._owned: dict[int, Any] = {id(self._root): self._root}
        self._operations: list[Operation] = []
        self._undo: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.left_alone: list[UnreadableValueError] = []

    @property
    def document(self) -> dict[str, Any]:
        return self._root

    @property
    def operations(self) -> list[Operation]:
        return self._operations

    def all_or_nothing(self) -> "_Attempt":
        """Undo the block's changes where it fails; an unreadable document is noted in `left_alone` and goes no further.

        The cost of undoing is that of the changes undone, however large the document is.
        """
        return _Attempt(self, len(self._operations), len(self._undo))

    def roll_back(self, operations: int, changes: int) -> None:
        """Undo what came after the first `operations` operations and the first `changes` changes."""
        while len(self._undo) > changes:
            restore, arguments = self._undo.pop()
            restore(*arguments)
        del self._operations[operations:]

    def set(self, pointer: Pointer, value: Any) -> None:
        """Make `value` stand at `pointer`, the last token of which is a member name."""
        parent, depth = self._descend(pointer, len(pointer) - 1)
        self._put(parent, pointer, depth, value)

    def fill(self, pointer: Pointer, defaults: Mapping[str, Any]) -> None:
        """Write each of `defaults` that is missing in the object at `pointer`; objects are filled in their turn."""
        if not defaults:
            return
        standing, depth = self._descend(pointer, len(pointer))
        if depth < len(pointer):
            self._put(standing, pointer, depth, defaults)
            return
        if not isinstance(standing, dict):
            raise UnreadableValueError(pointer, "an object", standing)
        for name, value in defaults.items():
            if isinstance(value, dict):
                self.fill(pointer / name, value)
            elif standing.get(name) is None:
                self._put(standing, pointer / name, depth, value)

    def insert(self, pointer: Pointer, index: int, values: Sequence[Any]) -> None:
        """Put `values` into the list at `pointer`, before the element that now stands at `index`."""
        if not values:
            return
        elements, depth = self._descend(pointer, len(pointer))
        if depth < len(pointer):
            self._put(elements, pointer, depth, list(values))
            return
        if not isinstance(elements, list):
            raise UnreadableValueError(pointer, "a list", elements)
        path = str(pointer)
        for offset, value in enumerate(values, start=index):
            self._operations.append({"op": "add", "path": f"{path}/{offset}", "value": value})
        elements[index:index] = values
        self._undo.append((elements.__delitem__, (slice(index, index + len(values)),)))

    def replace(self, pointer: Pointer, value: Any) -> None:
        """Put `value` in the place of the list element at `pointer`."""
        elements, index = self._element(pointer)
        self._operations.append({"op": "replace", "path": str(pointer), "value": value})
        self._undo.append((elements.__setitem__, (index, elements[index])))
        elements[index] = value

    def remove(self, pointer: Pointer) -> None:
        """Take away the list element at `pointer`."""
        elements, index = self._element(pointer)
        self._operations.append({"op": "remove", "path": str(pointer)})
        self._undo.append((elements.insert, (index, elements.pop(index))))

    def _element(self, pointer: Pointer) -> tuple[list[Any], int]:
        elements, depth = self._descend(pointer, len(pointer) - 1)
        index = pointer[-1]
        if (
            depth != len(pointer) - 1
            or not isinstance(elements, list)
            or not isinstance(index, int)
        ):
            raise UnreadableValueError(pointer.parent, "a list", elements)
        if index >= len(elements):
            raise UnreadableValueError(pointer, "an element", None)
        return elements, index

    def _put(self, parent: Any, pointer: Pointer, depth: int, value: Any) -> None:
        """Set member `pointer[depth]` of `parent`: to `value`, or where the pointer goes on, to objects around it."""
        name = pointer[depth]
        if not isinstance(parent, dict) or not isinstance(name, str):
            raise UnreadableValueError(
                Pointer(pointer[:depth]), "an object" if isinstance(name, str) else "a list", parent
            )
        for token in reversed(pointer[depth + 1 :]):
            if isinstance(token, int):
                raise UnreadableValueError(Pointer(pointer[: depth + 1]), "a list", None)
            value = {token: value}
        before = parent.get(name)
        if before is not None and type(before) is type(value) and before == value:
            return
        path = str(pointer if depth + 1 == len(pointer) else Pointer(pointer[: depth + 1]))
        self._operations.append(
            {"op": "add" if before is None else "replace", "path": path, "value": value}
        )
        self._undo.append(
            (parent.__setitem__, (name, parent[name])) if name in parent else (parent.pop, (name,))
        )
        parent[name] = value

    def _descend(self, pointer: Pointer, depth: int) -> tuple[Any, int]:
        """Follow `pointer` down to `depth`, or as far as there is something, and make that safe to change.

        Every container on the way is one of ours afterwards: copied, and attached to the working copy.
        """
        node: Any = self._root
        owned = self._owned
        for level in range(depth):
            token = pointer[level]
            try:
                child = node[token]
            except (KeyError, IndexError):
                child = None
            except TypeError:
                raise UnreadableValueError(Pointer(pointer[:level]), "an object", node) from None
            if child is None:
                return node, level
            if id(child) not in owned:
                if not isinstance(child, dict | list):
                    raise UnreadableValueError(
                        Pointer(pointer[: level + 1]), "an object or a list", child
                    )
                child = child.copy()
                owned[id(child)] = child
                node[token] = child
            node = child
        return node, depth


class _Attempt:
    """The block of `Draft.all_or_nothing`; a class, because there is one for every pod on the hot path."""

    __slots__ = ("_changes", "_draft", "_operations")

    def __init__(self, draft: Draft, operations: int, changes: int) -> None:
        self._draft = draft
        self._operations = operations
        self._changes = changes

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: object
    ) -> bool:
        if problem is None:
            return False
        self._draft.roll_back(self._operations, self._changes)
        if isinstance(problem, UnreadableValueError):
            self._draft.left_alone.append(problem)
            return True
        return False
