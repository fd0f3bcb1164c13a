"""Edits of a whole text: made, read again, and taken back if the result is not as expected."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import orjson
import yaml

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all
from policies.remedies.edits import ContradictionError, Remove, carried_out
from policies.remedies.emptied import DocumentEdit, with_empty_parents
from webhook.fixes import nodes
from webhook.fixes.layout import Layout
from webhook.fixes.nodes import TextNode
from webhook.fixes.plan import CannotMendError, EditPlan, anchors_on, member_at
from webhook.fixes.render import Style, block
from webhook.fixes.rewrite import Rewriter
from webhook.fixes.splice import Splice, spliced

_BOM = "\ufeff"
# A comment that has a line of its own.
_COMMENT = re.compile(r"^[ \t]*#", re.MULTILINE)
# What YAML takes for line ends and this module does not.
_OTHER_LINE_ENDS = ("\x85", "\u2028", "\u2029")
_TOO_MANY = "too many other remedies of this file cannot be made"
# Each attempt reads the text again. Far more than a real file needs.
_MIN_ATTEMPTS = 4
_MAX_CHARACTERS = 100_000_000
_CONFLICT = "two remedies contradict each other"
_UNEXPECTED = "the text with the remedy would not be read as the object with the remedy"


@dataclass(frozen=True, slots=True)
class DocumentFix:
    """Edits that belong together, for the document `number` (from 0) of a text.

    `created` are further documents.
    """

    number: int
    edits: tuple[DocumentEdit, ...]
    created: tuple[dict[str, Any], ...] = ()


@dataclass(slots=True)
class Mended:
    """The text with all fixes that could be made; `left` says why others, by index, were not."""

    text: str
    left: dict[int, str] = field(default_factory=dict)


class FixableText:
    """A text of YAML documents or one JSON document.

    Raises CannotMendError if it cannot be edited at all.
    """

    def __init__(self, text: str) -> None:
        self._bom = _BOM if text.startswith(_BOM) else ""
        self._text = text.removeprefix(_BOM)
        lone_returns = "\r" in self._text.replace("\r\n", "")
        if lone_returns or any(character in self._text for character in _OTHER_LINE_ENDS):
            raise CannotMendError("it has line ends other than LF and CRLF")
        self._eol = "\r\n" if "\r\n" in self._text else "\n"
        self._is_json = _is_json(self._text)
        self._values, self._roots = _read(self._text)
        self._layouts: dict[int, Layout] = {}

    def mended(self, fixes: Sequence[DocumentFix]) -> Mended:
        """Make all `fixes`; if the result is not as expected, as many of them as possible."""
        left: dict[int, str] = {}
        made: list[int] = []
        text = self._text
        attempts = max(_MIN_ATTEMPTS, _MAX_CHARACTERS // (len(self._text) + 1))
        # The whole first, then halves of what failed.
        waiting = [self._groups(fixes)]
        while waiting:
            groups = waiting.pop()
            attempts -= 1
            if attempts < 0:
                left.update((index, _TOO_MANY) for group in groups for index in group)
                continue
            tried = [*made, *(index for group in groups for index in group)]
            try:
                text = self._attempt([fixes[index] for index in sorted(tried)])
            except CannotMendError as error:
                if len(groups) == 1 and len(groups[0]) > 1 and str(error) == _CONFLICT:
                    waiting += [[[index]] for index in reversed(groups[0])]
                elif len(groups) == 1:
                    left.update(dict.fromkeys(groups[0], self._reason(error, fixes, groups[0])))
                else:
                    middle = len(groups) // 2
                    waiting += [groups[middle:], groups[:middle]]
            else:
                made = tried
        return Mended(self._bom + text, left)

    def _groups(self, fixes: Sequence[DocumentFix]) -> list[list[int]]:
        """The fixes by the places that they change: an alias can lead two of them to one place."""
        group_at: dict[tuple[int, object], list[int]] = {}
        for index, fix in enumerate(fixes):
            group = [index]
            for place in self._places(fix):
                existing = group_at.get(place)
                if existing is not None and existing is not group:
                    existing += group
                    group = existing
                group_at[place] = group
        distinct = {id(group): group for group in group_at.values()}
        grouped = {index for group in distinct.values() for index in group}
        rest = [[index] for index in range(len(fixes)) if index not in grouped]
        return [*(sorted(set(group)) for group in distinct.values()), *rest]

    def _attempt(self, fixes: Sequence[DocumentFix]) -> str:
        """The text with `fixes`. Raises CannotMendError."""
        edits: dict[int, list[DocumentEdit]] = defaultdict(list)
        created: list[dict[str, Any]] = []
        for fix in fixes:
            edits[fix.number] += fix.edits
            created += (document for document in fix.created if document not in created)
        lean = {number: self._with_empty_parents(number, own) for number, own in edits.items()}
        if lean != edits:
            # What stands there may have an anchor that other places need.
            with suppress(CannotMendError):
                return self._edited(lean, created)
        return self._edited(edits, created)

    def _with_empty_parents(self, number: int, edits: list[DocumentEdit]) -> Sequence[DocumentEdit]:
        """The edits, and what they leave empty goes, too, unless a comment would go with it."""
        lean = with_empty_parents(self._values[number], edits)
        removed = {edit.pointer for edit in lean if isinstance(edit, Remove)}
        parents = removed.difference(edit.pointer for edit in edits)
        for parent in parents:
            member = member_at(self._roots[number], parent)
            if member is None or _COMMENT.search(self._text, member.key.start, member.value.end):
                return edits
        return lean if parents else edits

    def _edited(
        self, edits: Mapping[int, Sequence[DocumentEdit]], created: Sequence[dict[str, Any]]
    ) -> str:
        """The text with the edits of each document. Raises CannotMendError."""
        splices = [part for number in edits for part in self._splices(number, edits[number])]
        if created:
            splices.append(self._new_documents(created))
        text = spliced(self._text, splices)
        if not _same(text, [*self._expected(edits), *created]):
            raise CannotMendError(_UNEXPECTED)
        return text

    def _expected(self, edits: Mapping[int, Sequence[DocumentEdit]]) -> list[Any]:
        """The documents with the edits. Raises CannotMendError."""
        expected = list(self._values)
        try:
            for number, own in edits.items():
                expected[number] = carried_out(expected[number], own)
        except ContradictionError:
            raise CannotMendError(_CONFLICT) from None
        return expected

    def _splices(self, number: int, edits: Iterable[DocumentEdit]) -> list[Splice]:
        plan = self._plan(number, edits)
        layout = self._layout(number)
        emptied = [
            changes.place
            for changes in plan.changes
            if changes.empties and not changes.place.is_flow
        ]
        style = self._style(layout)
        rewriter = Rewriter(self._text, style, frozenset(map(id, emptied)))
        splices = [part for changes in plan.changes for part in rewriter.splices(changes)]
        for place in emptied:
            holder = layout.holders.get(id(place))
            if holder is None:
                raise CannotMendError("nothing would be left of the document")
            splices += rewriter.emptied(*holder)
        return splices

    def _plan(self, number: int, edits: Iterable[DocumentEdit]) -> EditPlan:
        plan = EditPlan(self._roots[number])
        for edit in edits:
            plan.add(edit)
        return plan

    def _places(self, fix: DocumentFix) -> list[tuple[int, object]]:
        """What a fix changes in the text; none if it cannot be made."""
        try:
            plan = self._plan(fix.number, fix.edits)
        except CannotMendError:
            return []
        return [(id(changes.place), name) for changes in plan.changes for name in changes.names]

    def _layout(self, number: int) -> Layout:
        if number not in self._layouts:
            self._layouts[number] = Layout(self._roots[number], self._text)
        return self._layouts[number]

    def _style(self, layout: Layout) -> Style:
        step = layout.step if 2 <= layout.step <= 9 else 2
        return Style(self._eol, step, layout.list_step or 0, self._is_json)

    def _new_documents(self, created: Iterable[dict[str, Any]]) -> Splice:
        if self._is_json:
            raise CannotMendError("JSON has no place for a second document")
        style = self._style(self._layout(0))
        end = len(self._text)
        before = "" if self._text.endswith("\n") else self._eol
        texts = (f"---{self._eol}{block(document, 0, style)}" for document in created)
        return Splice(end, end, 1, before + "".join(texts))

    def _reason(
        self, error: CannotMendError, fixes: Sequence[DocumentFix], group: Iterable[int]
    ) -> str:
        """Why a group of fixes is left; shared values are the usual cause of a wrong result."""
        if str(error) != _UNEXPECTED:
            return str(error)
        for index in group:
            root = self._roots[fixes[index].number]
            for edit in fixes[index].edits:
                for name in anchors_on(root, edit.pointer):
                    return f"other places share the value by the anchor &{name}"
        return _UNEXPECTED


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _read(text: str) -> tuple[list[Any], list[TextNode]]:
    try:
        values = list(load_all(text))
        return values, list(nodes.documents(text))
    except (UntrustedYamlError, yaml.YAMLError) as error:
        raise CannotMendError(f"its text cannot be edited: {error}") from None


def _same(text: str, expected: Sequence[Any]) -> bool:
    """The text is read as these documents; True and 1 differ."""
    try:
        found = list(load_all(text))
    except UntrustedYamlError:
        return False
    return len(found) == len(expected) and all(
        json.dumps(value, sort_keys=True) == json.dumps(other, sort_keys=True)
        for value, other in zip(found, expected, strict=True)
    )
