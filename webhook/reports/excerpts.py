"""Lines of a manifest around a finding, with credentials covered."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from textwrap import dedent

from policies.documents.credentials import contains_credential
from policies.documents.untrusted_yaml import Position
from policies.documents.untyped import one_line
from webhook.manifests.source_text import SourceText
from webhook.reports.secret_spans import END, Span, is_secret_pair, secret_spans
from webhook.review.finding import Place, ReviewFinding

_LINES_AROUND = 2
# A line of JSON can be the whole file, so only the part around the column is shown.
_MAX_WIDTH = 160
_MARGIN = 60
_COVER = "********"
# What these rules find is a credential, whatever it looks like.
_CREDENTIAL_RULES = frozenset({"no-literal-credentials", "safe-ray-start-params"})


@dataclass(frozen=True, slots=True)
class ExcerptLine:
    """A line with its number, as it may be shown."""

    number: int
    text: str
    is_marked: bool


class Excerpts:
    """The excerpts of one review; each file is searched for credentials once."""

    def __init__(
        self, texts: Mapping[str, SourceText], findings: Iterable[ReviewFinding] = ()
    ) -> None:
        suspects: dict[str, list[Position]] = {}
        for finding in findings:
            if finding.rule in _CREDENTIAL_RULES:
                position = Position(finding.place.line, finding.place.column)
                suspects.setdefault(finding.place.file, []).append(position)
        self._texts = texts
        self._suspects = suspects
        self._covered: dict[str, _CoveredText] = {}

    def around(self, place: Place) -> list[ExcerptLine]:
        """The line of the place and those beside it; empty if there is no text."""
        text = self._texts.get(place.file)
        if text is None:
            return []
        if text.name not in self._covered:
            suspects = self._suspects.get(text.name, ())
            self._covered[text.name] = _CoveredText(text, suspects)
        return self._covered[text.name].around(place)


class _CoveredText:
    """The text of a file without its credentials."""

    def __init__(self, text: SourceText, suspects: Iterable[Position]) -> None:
        self._lines = text.lines
        self._columns: dict[int, list[tuple[int, int]]] = {}
        self._hidden_from = len(self._lines) + 1
        self._covered: dict[int, str] = {}
        for span in secret_spans("\n".join(self._lines), suspects):
            self._cover(span)

    def around(self, place: Place) -> list[ExcerptLine]:
        last = min(place.line + _LINES_AROUND, len(self._lines))
        numbers = range(max(1, place.line - _LINES_AROUND), last + 1)
        texts = dedent("\n".join(self._clipped(number, place) for number in numbers)).split("\n")
        return [
            ExcerptLine(number, text, number == place.line)
            for number, text in zip(numbers, texts, strict=True)
        ]

    def _cover(self, span: Span) -> None:
        """Remember which columns of which lines a span takes."""
        start, end = span
        if end == END:
            self._hidden_from = min(self._hidden_from, start.line)
            return
        for number in range(start.line, min(end.line, len(self._lines)) + 1):
            first = start.column - 1 if number == start.line else 0
            last = end.column - 1 if number == end.line else len(self._lines[number - 1])
            self._columns.setdefault(number, []).append((first, last))

    def _clipped(self, number: int, place: Place) -> str:
        if number not in self._covered:
            self._covered[number] = self._without_credentials(number)
        line = self._covered[number]
        start = 0
        if number == place.line and place.column > _MAX_WIDTH - _MARGIN:
            start = place.column - _MARGIN
        before = "…" if start else ""
        after = "…" if start + _MAX_WIDTH < len(line) else ""
        return f"{before}{one_line(line[start : start + _MAX_WIDTH])}{after}"

    def _without_credentials(self, number: int) -> str:
        line, shown_to, parts = self._lines[number - 1], 0, []
        if number >= self._hidden_from:
            return _COVER
        for start, end in sorted(self._columns.get(number, ())):
            if end > shown_to:
                parts += [line[shown_to:start], _COVER] if start >= shown_to else []
                shown_to = end
        covered = "".join([*parts, line[shown_to:]])
        # The parser sees no comments.
        return _COVER if contains_credential(covered) or is_secret_pair(covered) else covered
