"""A working copy of a Kubernetes object that records every change to it as a JSON Patch operation."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from policies.pointer import Pointer

Operation = dict[str, Any]


class Unreadable(Exception):
    """The document has a shape at `pointer` that no Kubernetes object has, so nothing can be written there."""

    def __init__(self, pointer: Pointer, expected: str, found: Any) -> None:
        self.pointer = pointer
        super().__init__(f"{pointer or '/'} is {_shape(found)}, not {expected}")


def _shape(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


class Draft:
    """The object as it will be, and the RFC 6902 operations that lead there.

    Copy on write: the caller's document is never touched, unknown fields survive, and only the containers on the way
    to a change are copied. Missing parents are made, ``null`` counts as missing, and nothing is recorded when nothing
    changes, so applying the operations to the original always gives `document`.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._root: dict[str, Any] = dict(document)
        # Copies of ours, kept by reference so that an id stays taken for as long as it stands for ownership.
        self._owned: dict[int, Any] = {id(self._root): self._root}
        self._operations: list[Operation] = []
        self._undo: list[Callable[[], Any]] = []
        self.left_alone: list[Unreadable] = []

    @property
    def document(self) -> dict[str, Any]:
        return self._root

    @property
    def operations(self) -> list[Operation]:
        return self._operations

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """Undo the block's changes where it fails; an unreadable document is noted in `left_alone` and goes no further.

        The cost of undoing is that of the changes undone, however large the document is.
        """
        operations, changes = len(self._operations), len(self._undo)
        try:
            yield
        except Exception as problem:
            while len(self._undo) > changes:
                self._undo.pop()()
            del self._operations[operations:]
            if not isinstance(problem, Unreadable):
                raise
            self.left_alone.append(problem)

    def set(self, pointer: Pointer, value: Any) -> None:
        """Make `value` stand at `pointer`, the last token of which is a member name."""
        parent, name = self._writable(pointer.parent, dict), pointer[-1]
        before = parent.get(name)
        if before is not None and type(before) is type(value) and before == value:
            return
        self._record("add" if before is None else "replace", pointer, value)
        self._put_member(parent, name, value)

    def insert(self, pointer: Pointer, index: int, value: Any) -> None:
        """Put `value` into the list at `pointer`, before the element that now stands at `index`."""
        elements = self._writable(pointer, list)
        self._record("add", pointer / index, value)
        elements.insert(index, value)
        self._undo.append(partial(elements.pop, index))

    def append(self, pointer: Pointer, value: Any) -> None:
        """Put `value` at the end of the list at `pointer`."""
        self.insert(pointer, len(self._writable(pointer, list)), value)

    def replace(self, pointer: Pointer, value: Any) -> None:
        """Put `value` in the place of the list element at `pointer`."""
        elements, index = self._writable(pointer.parent, list), pointer[-1]
        self._record("replace", pointer, value)
        self._undo.append(partial(elements.__setitem__, index, elements[index]))
        elements[index] = value

    def remove(self, pointer: Pointer) -> None:
        """Take away the list element at `pointer`."""
        elements, index = self._writable(pointer.parent, list), pointer[-1]
        self._operations.append({"op": "remove", "path": str(pointer)})
        self._undo.append(partial(elements.insert, index, elements.pop(index)))

    def _record(self, op: str, pointer: Pointer, value: Any) -> None:
        self._operations.append({"op": op, "path": str(pointer), "value": _copy(value)})

    def _put_member(self, parent: dict[str | int, Any], name: str | int, value: Any) -> None:
        restore = partial(parent.__setitem__, name, parent[name]) if name in parent else partial(parent.pop, name)
        self._undo.append(restore)
        parent[name] = value

    def _writable(self, pointer: Pointer, shape: type[dict[Any, Any]] | type[list[Any]]) -> Any:
        """The container at `pointer`, copied and attached to the working copy on the first call; made when missing."""
        node: Any = self._root
        for depth, token in enumerate(pointer, start=1):
            last = depth == len(pointer)
            expected = shape if last else list if isinstance(pointer[depth], int) else dict
            child = Pointer((token,)).read(node)
            if child is None and isinstance(node, dict) and (last or expected is dict):
                child = expected()
                self._record("add", Pointer(pointer[:depth]), child)
                self._put_member(node, token, child)
            if type(child) is not expected:
                raise Unreadable(Pointer(pointer[:depth]), "an object" if expected is dict else "a list", child)
            node[token] = child = self._own(child)
            node = child
        return node

    def _own(self, container: Any) -> Any:
        if id(container) in self._owned:
            return container
        copy = container.copy()
        self._owned[id(copy)] = copy
        return copy


def _copy(value: Any) -> Any:
    """Operations hold values of their own: a later change inside the working copy must not rewrite history."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value
