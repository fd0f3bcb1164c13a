"""A working copy of a Kubernetes object that records each change as a JSON Patch operation."""

from collections.abc import Mapping, Sequence
from typing import Any

from policies.documents.patch import Change
from policies.documents.pointer import Pointer

_MISSING: Any = object()
_CONTAINERS = (dict, list)


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
    """The changed object, and the changes that turn the original into it.

    Copy on write: the original document is never modified, unknown fields survive, and only the
    containers on the path to a change are copied. Missing parents are created, null counts as
    missing, and a change that changes nothing is not recorded. Applying the changes to the original
    therefore always gives `document`. Values passed in are not modified either: the changes contain
    them unchanged.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._root: dict[str, Any] = dict(document)
        # The containers this draft has copied. Keeping a reference keeps the id from being
        # reused, so an id in this dict always means that the draft owns the container.
        self._owned: dict[int, Any] = {id(self._root): self._root}
        # The copies by their place: most objects are written to more than once.
        self._places: dict[Pointer, Any] = {}
        self.changes: list[Change] = []
        self.unreadable: list[UnreadableValueError] = []

    @property
    def document(self) -> dict[str, Any]:
        return self._root

    def leave(self, problem: UnreadableValueError, changes: int) -> None:
        """Undo everything after the first `changes` changes, and note why in `unreadable`."""
        self.roll_back(changes)
        self.unreadable.append(problem)

    def roll_back(self, changes: int) -> None:
        """Undo everything after the first `changes` changes.

        Undoing costs as much as the changes that are undone, however large the document is.
        """
        while len(self.changes) > changes:
            verb, _, key, value, node, before = self.changes.pop()
            if verb == "insert":
                del node[before : before + len(value)]
            elif verb == "remove":
                node.insert(key, before)
            elif before is _MISSING:
                del node[key]
            else:
                node[key] = before
        self._forget_places()

    def set(self, holder: Pointer, name: str, value: Any) -> None:
        """Set the member `name` of the object at `holder` to `value`."""
        node = self._places.get(holder)
        if node is None:
            node, depth = self._descend(holder)
            if depth < len(holder):
                self._create(node, Pointer((*holder, name)), depth, value)
                return
        self._write(node, holder, name, value)

    def fill(self, holder: Pointer, name: str, default: Any) -> None:
        """Set the member `name` of the object at `holder` to `default` if it is missing.

        If both are objects, each missing member of the existing one is set, recursively.
        """
        if default == {}:
            return
        node = self._places.get(holder)
        if node is None:
            node, depth = self._descend(holder)
            if depth < len(holder):
                self._create(node, Pointer((*holder, name)), depth, default)
                return
        existing = node.get(name) if type(node) is dict else _MISSING
        if existing is None or existing is _MISSING:
            self._write(node, holder, name, default)
        elif isinstance(default, dict):
            pointer = holder / name
            if not isinstance(existing, dict):
                expected = "an object" if isinstance(existing, list) else "an object or a list"
                raise UnreadableValueError(pointer, expected, existing)
            for field, value in default.items():
                self.fill(pointer, field, value)

    def insert(self, holder: Pointer, name: str, index: int, values: Sequence[Any]) -> None:
        """Insert `values` into the list `name` of the object at `holder`, before `index`."""
        if not values:
            return
        node = self._places.get(holder)
        if node is None:
            node, depth = self._descend(holder)
            if depth < len(holder):
                self._create(node, Pointer((*holder, name)), depth, list(values))
                return
        elements = node.get(name) if type(node) is dict else None
        if elements is None:
            self._write(node, holder, name, list(values))
            return
        if not isinstance(elements, list):
            expected = "a list" if isinstance(elements, dict) else "an object or a list"
            raise UnreadableValueError(holder / name, expected, elements)
        if id(elements) not in self._owned:
            node[name] = elements = elements.copy()
            self._owned[id(elements)] = elements
        # Where copied elements move, so do the places below them.
        elif any(id(element) in self._owned for element in elements):
            self._forget_places()
        elements[index:index] = values
        self.changes.append(("insert", holder, name, values, elements, index))

    def replace(self, pointer: Pointer, value: Any) -> None:
        """Replace the list element at `pointer` with `value`."""
        elements, index = self._element(pointer)
        self.changes.append(("replace", pointer.parent, index, value, elements, elements[index]))
        elements[index] = value

    def remove(self, pointer: Pointer) -> None:
        """Remove the list element at `pointer`."""
        elements, index = self._element(pointer)
        self.changes.append(("remove", pointer.parent, index, None, elements, elements.pop(index)))

    def _element(self, pointer: Pointer) -> tuple[list[Any], int]:
        """The list that holds the element at `pointer`, and the element's index."""
        elements, depth = self._descend(pointer.parent)
        index = pointer[-1]
        is_reached = depth == len(pointer) - 1
        if not is_reached or not isinstance(elements, list) or not isinstance(index, int):
            raise UnreadableValueError(pointer.parent, "a list", elements)
        if index >= len(elements):
            raise UnreadableValueError(pointer, "an element", None)
        self._forget_places()
        return elements, index

    def _create(self, parent: Any, pointer: Pointer, depth: int, value: Any) -> None:
        """Set member `pointer[depth]` of `parent`, which does not exist.

        `value` is wrapped in an object for each further token.
        """
        holder, name = Pointer(pointer[:depth]), pointer[depth]
        if not isinstance(name, str):
            raise UnreadableValueError(holder, "a list", parent)
        if not isinstance(parent, dict):
            raise UnreadableValueError(holder, "an object", parent)
        for token in reversed(pointer[depth + 1 :]):
            if isinstance(token, int):
                raise UnreadableValueError(holder / name, "a list", None)
            value = {token: value}
        self._write(parent, holder, name, value)

    def _write(self, node: Any, holder: Pointer, name: str, value: Any) -> None:
        """Set member `name` of `node`, the copy of the value at `holder`."""
        if not isinstance(name, str):
            raise UnreadableValueError(holder, "a list", node)
        if not isinstance(node, dict):
            raise UnreadableValueError(holder, "an object", node)
        before = node.get(name, _MISSING)
        if before is _MISSING or before is None:
            self.changes.append(("add", holder, name, value, node, before))
        # The types are compared as well: to Python, True equals 1.
        elif type(before) is type(value) and before == value:
            return
        else:
            self.changes.append(("replace", holder, name, value, node, before))
            self._forget_places()
        node[name] = value

    def _descend(self, pointer: Pointer) -> tuple[Any, int]:
        """Follow `pointer` to the last value that exists; return it and its depth.

        Afterwards the draft owns every container on the way: each is a copy, attached to the
        working copy, and safe to change.
        """
        node: Any = self._root
        owned = self._owned
        try:
            for token in pointer:
                child = node[token]
                if id(child) not in owned:
                    if not isinstance(child, _CONTAINERS):
                        return self._last_on(pointer)
                    child = child.copy()
                    owned[id(child)] = child
                    node[token] = child
                node = child
        except (KeyError, IndexError, TypeError):
            return self._last_on(pointer)
        self._places[pointer] = node
        return node, len(pointer)

    def _last_on(self, pointer: Pointer) -> tuple[Any, int]:
        """The last value that exists on the way to `pointer`, and its depth."""
        node: Any = self._root
        for level, token in enumerate(pointer):
            try:
                child = node[token]
            except (KeyError, IndexError):
                child = None
            except TypeError:
                raise UnreadableValueError(Pointer(pointer[:level]), "an object", node) from None
            if child is None:
                return node, level
            if not isinstance(child, dict | list):
                place = Pointer(pointer[: level + 1])
                raise UnreadableValueError(place, "an object or a list", child)
            node = child
        return node, len(pointer)

    def _forget_places(self) -> None:
        """Look places up again: values that the draft had copied are not where they were."""
        self._places.clear()
