"""A working copy of a Kubernetes object that records each change as a JSON Patch operation."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from policies.documents.pointer import Pointer

Operation = dict[str, Any]


class UnreadableValueError(Exception):
    """The document has a value of the wrong type at `pointer`, so nothing can be written there."""

    def __init__(self, pointer: Pointer, expected: str, actual: Any) -> None:
        super().__init__(f"{pointer or '/'} is {_type_name(actual)}, not {expected}")


def _type_name(value: Any) -> str:
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
    """The changed object, and the RFC 6902 operations that turn the original into it.

    Copy on write: the original document is never modified, unknown fields survive, and only the
    containers on the path to a change are copied. Missing parents are created, ``null`` counts as
    missing, and a change that changes nothing records no operation. Applying the operations to
    the original therefore always gives `document`. Values passed in are not modified either: the
    operations contain them unchanged.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._root: dict[str, Any] = dict(document)
        # The containers this draft has copied. Keeping a reference keeps the id from being
        # reused, so an id in this dict always means that the draft owns the container.
        self._owned: dict[int, Any] = {id(self._root): self._root}
        self._operations: list[Operation] = []
        self._undo: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
        self.unreadable: list[UnreadableValueError] = []

    @property
    def document(self) -> dict[str, Any]:
        return self._root

    @property
    def operations(self) -> list[Operation]:
        return self._operations

    def all_or_nothing(self) -> "_Attempt":
        """A context manager that undoes the changes of its block if the block fails.

        An UnreadableValueError is recorded in `left_alone` and not raised further. Undoing costs
        as much as the changes that are undone, however large the document is.
        """
        return _Attempt(self, len(self._operations), len(self._undo))

    def roll_back(self, operations: int, changes: int) -> None:
        """Undo everything after the first `operations` operations and `changes` changes."""
        while len(self._undo) > changes:
            restore, arguments = self._undo.pop()
            restore(*arguments)
        del self._operations[operations:]

    def set(self, pointer: Pointer, value: Any) -> None:
        """Set the member at `pointer` to `value`; the last token is the member's name."""
        parent, depth = self._descend(pointer, len(pointer) - 1)
        self._put(parent, pointer, depth, value)

    def fill(self, pointer: Pointer, defaults: Mapping[str, Any]) -> None:
        """Set each of `defaults` that is missing in the object at `pointer`, recursively."""
        if not defaults:
            return
        existing, depth = self._descend(pointer, len(pointer))
        if depth < len(pointer):
            self._put(existing, pointer, depth, defaults)
            return
        if not isinstance(existing, dict):
            raise UnreadableValueError(pointer, "an object", existing)
        for name, value in defaults.items():
            if isinstance(value, dict):
                self.fill(pointer / name, value)
            elif existing.get(name) is None:
                self._put(existing, pointer / name, depth, value)

    def insert(self, pointer: Pointer, index: int, values: Sequence[Any]) -> None:
        """Insert `values` into the list at `pointer`, before the element now at `index`."""
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
        """Replace the list element at `pointer` with `value`."""
        elements, index = self._element(pointer)
        self._operations.append({"op": "replace", "path": str(pointer), "value": value})
        self._undo.append((elements.__setitem__, (index, elements[index])))
        elements[index] = value

    def remove(self, pointer: Pointer) -> None:
        """Remove the list element at `pointer`."""
        elements, index = self._element(pointer)
        self._operations.append({"op": "remove", "path": str(pointer)})
        self._undo.append((elements.insert, (index, elements.pop(index))))

    def _element(self, pointer: Pointer) -> tuple[list[Any], int]:
        """The list that holds the element at `pointer`, and the element's index."""
        elements, depth = self._descend(pointer, len(pointer) - 1)
        index = pointer[-1]
        is_reached = depth == len(pointer) - 1
        if not is_reached or not isinstance(elements, list) or not isinstance(index, int):
            raise UnreadableValueError(pointer.parent, "a list", elements)
        if index >= len(elements):
            raise UnreadableValueError(pointer, "an element", None)
        return elements, index

    def _put(self, parent: Any, pointer: Pointer, depth: int, value: Any) -> None:
        """Set member `pointer[depth]` of `parent` to `value`.

        If the pointer goes on, `value` is wrapped in an object for each further token.
        """
        name = pointer[depth]
        if not isinstance(name, str):
            raise UnreadableValueError(Pointer(pointer[:depth]), "a list", parent)
        if not isinstance(parent, dict):
            raise UnreadableValueError(Pointer(pointer[:depth]), "an object", parent)
        for token in reversed(pointer[depth + 1 :]):
            if isinstance(token, int):
                raise UnreadableValueError(Pointer(pointer[: depth + 1]), "a list", None)
            value = {token: value}
        before = parent.get(name)
        # The types are compared as well: to Python, True equals 1.
        if before is not None and type(before) is type(value) and before == value:
            return
        path = str(pointer if depth + 1 == len(pointer) else Pointer(pointer[: depth + 1]))
        verb = "add" if before is None else "replace"
        self._operations.append({"op": verb, "path": path, "value": value})
        if name in parent:
            self._undo.append((parent.__setitem__, (name, before)))
        else:
            self._undo.append((parent.pop, (name,)))
        parent[name] = value

    def _descend(self, pointer: Pointer, depth: int) -> tuple[Any, int]:
        """Follow `pointer` to `depth`, or to the last value that exists; return it and its depth.

        Afterwards the draft owns every container on the way: each is a copy, attached to the
        working copy, and safe to change.
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
                    place = Pointer(pointer[: level + 1])
                    raise UnreadableValueError(place, "an object or a list", child)
                child = child.copy()
                owned[id(child)] = child
                node[token] = child
            node = child
        return node, depth


class _Attempt:
    """The block of `Draft.all_or_nothing`.

    A class and not a generator, because every pod on the hot path needs one.
    """

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
            self._draft.unreadable.append(problem)
            return True
        return False
