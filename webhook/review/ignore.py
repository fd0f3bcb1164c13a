"""`# raywarden: ignore[RULE] REASON`: what authors write to suppress findings."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.documents.untyped import one_line
from webhook.manifests.comments import Comment, comments_with
from webhook.manifests.source_text import SourceText

_WORD = "raywarden:"
_IGNORE = re.compile(r"raywarden:\s*ignore\b\s*(?:\[([^\]]*)\])?[\s:-]*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ignore:
    """A comment that suppresses findings of some rules.

    `covered` is the line whose findings it suppresses; None means the whole document.
    """

    comment: Comment
    rules: Sequence[str]
    reason: str
    covered: int | None


def ignores_in(text: SourceText) -> list[Ignore]:
    """Every such comment in a text, also those without rules or without a reason."""
    return list(_ignores(text))[::-1]


def _ignores(text: SourceText) -> Iterator[Ignore]:
    """From the last to the first, so that a line below is known when a line needs it."""
    below: dict[int, int] = {}
    for comment in reversed(list(comments_with(_WORD, text.content))):
        if comment.is_alone:
            below[comment.line] = _line_below(text.lines, comment.line, below)
        if match := _IGNORE.match(comment.text):
            rules = dict.fromkeys(rule.strip() for rule in (match[1] or "").split(","))
            rules.pop("", None)
            covered = below.get(comment.line, comment.line)
            whole = comment.is_above
            yield Ignore(
                comment, list(rules), one_line(match[2]).strip(), None if whole else covered
            )


def _line_below(lines: Sequence[str], line: int, below: dict[int, int]) -> int:
    """The first line below a comment that is no comment; `below` has those of later comments."""
    line += 1
    while line <= len(lines) and lines[line - 1].lstrip().startswith("#"):
        if line in below:
            return below[line]
        line += 1
    return line
