"""Which place of a text each edit changes, where aliases and merge keys lead to shared places."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from policies.documents.pointer import Pointer
from policies.remedies.edits import Append, Remove, Rename, SetMember
from policies.remedies.emptied import DocumentEdit
from webhook.fixes.nodes import (
    Alias,
    Collection,
    Mapping,
    Member,
    Scalar,
    Sequence,
    TextNode,
    target_of,
)


class CannotMendError(Exception):
    """The edit cannot be made in this text; the message says why."""


@dataclass(slots=True)
class Changes:
    """What changes directly in one collection of the text."""

    place: Collection
    sets: dict[str | int, Any] = field(default_factory=dict)
    # The new name and value, by the name of the member that it replaces.
    replaced: dict[str, tuple[str, Any]] = field(default_factory=dict)
    # The new name by the old one.
    renames: dict[str, str] = field(default_factory=dict)
    removals: set[str | int] = field(default_factory=set)
    additions: dict[str, Any] = field(default_factory=dict)
    appended: list[Any] = field(default_factory=list)

    @property
    def names(self) -> Iterable[object]:
        """The members and items that change."""
        appends = ["append"] if self.appended else []
        renamed = [*self.renames, *self.renames.values()]
        return [*self.sets, *self.replaced, *renamed, *self.removals, *self.additions, *appends]

    @property
    def empties(self) -> bool:
        """Nothing is left in the collection."""
        if self.additions or self.appended or self.replaced or self.renames:
            return False
        place = self.place
        count = place.entries if isinstance(place, Mapping) else len(place.items)
        return count > 0 and len(self.removals) == count


class EditPlan:
    """The changes of one document, by the collection in which they are made."""

    def __init__(self, root: TextNode) -> None:
        self._root = root
        self._changes: dict[int, Changes] = {}

    @property
    def changes(self) -> Iterable[Changes]:
        return self._changes.values()

    def add(self, edit: DocumentEdit) -> None:
        """Raises CannotMendError."""
        if isinstance(edit, Append):
            self._append(edit)
        elif isinstance(edit, Remove):
            parent, name = self._holder(edit.pointer)
            self._remove(parent, name)
        elif isinstance(edit, Rename):
            self._rename(edit)
        else:
            self._set(edit)

    def _of(self, place: Collection) -> Changes:
        return self._changes.setdefault(id(place), Changes(place))

    def _set(self, edit: SetMember) -> None:
        parent, depth = self._nearest(edit.pointer)
        value = edit.value
        for token in reversed(edit.pointer[depth + 1 :]):
            value = {token: value}
        name = edit.pointer[depth]
        is_reached = depth == len(edit.pointer) - 1
        replaces = edit.replaces if is_reached else ""
        if replaces and isinstance(parent, Mapping) and replaces in parent.members:
            self._replace(parent, replaces, str(name), value)
        else:
            self._put(parent, name, value)

    def _replace(self, parent: Mapping, old: str, name: str, value: Any) -> None:
        if name in parent.members:
            self._put(parent, name, value)
            self._remove(parent, old)
        else:
            self._of(parent).replaced[old] = name, value

    def _put(self, parent: Collection, name: str | int, value: Any) -> None:
        """Set a member or item; inside an object only the members that differ are changed."""
        own = _own(parent, name)
        if own is None:
            if isinstance(parent, Sequence) or not isinstance(name, str):
                raise CannotMendError("the list has no such item")
            additions = self._of(parent).additions
            additions[name] = _merged(additions.get(name), value)
        elif isinstance(own, Mapping) and isinstance(value, dict) and value:
            for key in [*own.members]:
                if key not in value:
                    self._remove(own, key)
            for key, part in value.items():
                self._put(own, key, part)
        else:
            sets = self._of(parent).sets
            sets[name] = _merged(sets.get(name), value)

    def _remove(self, parent: Collection, name: str | int) -> None:
        if _own(parent, name) is None:
            raise CannotMendError("a merge key (<<) sets it, so it cannot be removed here")
        self._of(parent).removals.add(name)

    def _rename(self, edit: Rename) -> None:
        parent, name = self._holder(edit.pointer)
        if not isinstance(parent, Mapping) or _own(parent, name) is None:
            raise CannotMendError("a merge key (<<) sets it, so it cannot be renamed here")
        if self._of(parent).renames.setdefault(str(name), edit.name) != edit.name:
            raise CannotMendError("two remedies rename it")

    def _append(self, edit: Append) -> None:
        parent, depth = self._nearest(edit.pointer / 0)
        if depth == len(edit.pointer) and isinstance(parent, Sequence):
            appended = self._of(parent).appended
            if edit.value not in appended:
                appended.append(edit.value)
        else:
            self._set(SetMember(edit.pointer, [edit.value]))

    def _holder(self, pointer: Pointer) -> tuple[Collection, str | int]:
        parent, depth = self._nearest(pointer)
        if depth < len(pointer) - 1:
            raise CannotMendError("it is not written in this file")
        return parent, pointer[depth]

    def _nearest(self, pointer: Pointer) -> tuple[Collection, int]:
        """The last collection on the way to `pointer`, and the index of the next token."""
        place = target_of(self._root)
        if not isinstance(place, Mapping | Sequence) or not pointer:
            raise CannotMendError("the document is not an object")
        for depth, token in enumerate(pointer[:-1]):
            child = _child(place, token)
            if isinstance(child, Scalar) and not child.is_null:
                raise CannotMendError(f"{Pointer(pointer[: depth + 1])} has another type")
            if not isinstance(child, Mapping | Sequence):
                return place, depth
            place = child
        return place, len(pointer) - 1


def _own(parent: Collection, name: str | int) -> TextNode | None:
    """The value as it is written in this collection, without those of merge keys."""
    if isinstance(parent, Mapping):
        member = parent.members.get(str(name))
        return member.value if member else None
    is_item = isinstance(name, int) and name < len(parent.items)
    return parent.items[int(name)] if is_item else None


def _child(parent: Collection, name: str | int) -> TextNode | None:
    own = _own(parent, name)
    if own is not None:
        return target_of(own)
    if isinstance(parent, Mapping):
        for part in _merged_mappings(parent):
            child = _child(part, name)
            if child is not None:
                return child
    return None


def _merged_mappings(mapping: Mapping) -> Iterable[Mapping]:
    for value in mapping.merged:
        source = target_of(value)
        parts = source.items if isinstance(source, Sequence) else [source]
        yield from (part for part in map(target_of, parts) if isinstance(part, Mapping))


def _merged(before: Any, value: Any) -> Any:
    """Both objects together, or `value`."""
    if not isinstance(before, dict) or not isinstance(value, dict):
        return value
    return {**before, **{name: _merged(before.get(name), part) for name, part in value.items()}}


def member_at(root: TextNode, pointer: Pointer) -> Member | None:
    """The member at `pointer` as it is written; None if there is none."""
    node: TextNode | None = root
    for token in pointer[:-1]:
        place = None if node is None else target_of(node)
        node = _own(place, token) if isinstance(place, Mapping | Sequence) else None
    place = None if node is None else target_of(node)
    return place.members.get(str(pointer[-1])) if isinstance(place, Mapping) else None


def anchors_on(root: TextNode, pointer: Pointer) -> list[str]:
    """The anchors and aliases on the way to `pointer`, which may share what is there."""
    names: list[str] = []
    node: TextNode | None = root
    for token in (*pointer, None):
        if isinstance(node, Alias) or (node is not None and node.anchor):
            names.append(target_of(node).anchor)
        place = None if node is None else target_of(node)
        if token is None or not isinstance(place, Mapping | Sequence):
            break
        node = _own(place, token) or _child(place, token)
    return names
