"""Edits of an object, and the object after them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from policies.documents.pointer import Pointer


@dataclass(frozen=True, slots=True)
class SetMember:
    """Set the member at `pointer` to `value`, in the place of the member `replaces` if given."""

    pointer: Pointer
    value: Any
    replaces: str = ""


@dataclass(frozen=True, slots=True)
class Rename:
    """Give the member at `pointer` another name; no member has that name yet."""

    pointer: Pointer
    name: str


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove the member or the list item at `pointer`."""

    pointer: Pointer


@dataclass(frozen=True, slots=True)
class Append:
    """Append `value` to the list at `pointer` of another object in the same namespace."""

    kind: str
    name: str
    pointer: Pointer
    value: Any


@dataclass(frozen=True, slots=True)
class Create:
    """Create this object."""

    document: dict[str, Any]


Edit = SetMember | Rename | Remove | Append | Create


class ContradictionError(ValueError):
    """Edits contradict each other, or the document has something else at their place."""


def carried_out(document: Any, edits: Iterable[Edit]) -> Any:
    """A copy of `document` with all edits made, except what they create.

    Raises ContradictionError.
    """
    result = _copied(document)
    removals, values, renames = [], [], []
    for edit in edits:
        if isinstance(edit, Remove):
            removals.append(edit.pointer)
        elif isinstance(edit, Rename):
            renames.append(edit)
        elif isinstance(edit, SetMember):
            _set(result, edit)
            values.append(edit)
        elif isinstance(edit, Append):
            _appended(_made(result, edit.pointer.parent), edit.pointer[-1], _copied(edit.value))
    _check(result, values)
    _remove_all(result, removals)
    # From the inside out, so that each is found under its old name.
    for rename in sorted(set(renames), key=lambda edit: len(edit.pointer), reverse=True):
        _rename(rename.pointer.parent.read(result), rename.pointer[-1], rename.name)
    return result


def _set(document: Any, edit: SetMember) -> None:
    _put(_made(document, edit.pointer.parent), edit.pointer[-1], _copied(edit.value))
    if edit.replaces:
        _made(document, edit.pointer.parent).pop(edit.replaces, None)


def _remove_all(document: Any, pointers: Iterable[Pointer]) -> None:
    # From the end of lists, so that positions stay valid.
    for pointer in sorted(set(pointers), key=_order, reverse=True):
        holder = pointer.parent.read(document)
        if _holds(holder, pointer[-1]):
            del holder[pointer[-1]]


def _rename(holder: Any, name: str | int, new: str) -> None:
    is_member = isinstance(holder, dict) and isinstance(name, str)
    if not is_member or name not in holder or new in holder:
        raise ContradictionError
    holder[new] = holder.pop(name)


def _check(document: Any, edits: Iterable[SetMember]) -> None:
    """Raises ContradictionError if one edit overwrote what another had set."""
    if not all(_has(edit.pointer.read(document), edit.value) for edit in edits):
        raise ContradictionError


def _has(found: Any, value: Any) -> bool:
    """Whether `found` is `value`; an object may have more members."""
    if isinstance(value, dict) and isinstance(found, dict):
        return all(name in found and _has(found[name], part) for name, part in value.items())
    return bool(found == value)


def _holds(holder: Any, name: str | int) -> bool:
    if isinstance(holder, list):
        return isinstance(name, int) and name < len(holder)
    return isinstance(holder, dict) and name in holder


def _put(holder: Any, name: str | int, value: Any) -> None:
    is_member = isinstance(holder, dict) and isinstance(name, str)
    if not is_member and not _holds(holder, name):
        raise ContradictionError
    holder[name] = value


def _appended(holder: Any, name: str | int, value: Any) -> None:
    if not isinstance(holder, dict):
        raise ContradictionError
    existing = holder.setdefault(name, [])
    if not isinstance(existing, list):
        raise ContradictionError
    if value not in existing:
        existing.append(value)


def _copied(value: Any) -> Any:
    """A copy in which no two places share a value, as aliases do."""
    if isinstance(value, dict):
        return {name: _copied(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return value


def _made(document: Any, pointer: Pointer) -> Any:
    """The value at `pointer`; it and its parents are created where they are missing."""
    for token in pointer:
        is_member = isinstance(document, dict) and isinstance(token, str)
        if is_member and document.get(token) is None:
            document[token] = {}
        document = Pointer((token,)).read(document)
        if document is None:
            raise ContradictionError
    return document


def _order(pointer: Pointer) -> list[tuple[int, str]]:
    return [(token, "") if isinstance(token, int) else (-1, token) for token in pointer]
