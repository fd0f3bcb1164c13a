"""Suppresses the findings that authors ignore by comments, where the policy lets them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from policies.config import Policy
from policies.problems import shown, suggestion
from policies.registry import RULE_IDS
from webhook.manifests.read import Written
from webhook.manifests.source_text import SourceText
from webhook.review.finding import SuppressedBy, Suppression
from webhook.review.ignore import Ignore, ignores_in

# The id of findings about these comments; the field of the policy file has the same name.
AUTHOR_SUPPRESSIONS = "author-suppressions"
# Suggestions take time, and a file with more unknown names does not contain misspellings.
_MAX_SUGGESTIONS = 50
_FORM = "write # raywarden: ignore[RULE] REASON"


@dataclass(frozen=True, slots=True)
class IgnoreProblem:
    """What is wrong with a comment."""

    ignore: Ignore
    message: str
    remediation: str


@dataclass(slots=True)
class _Entry:
    """A comment and one of its rules."""

    ignore: Ignore
    rule: str
    is_used: bool = False


@dataclass(slots=True)
class _Comments:
    """The comments of one text: by document, and by rule and the line or document they cover."""

    problems: dict[int, list[IgnoreProblem]] = field(default_factory=dict)
    entries: dict[int, list[_Entry]] = field(default_factory=dict)
    by_line: dict[tuple[str, int], _Entry] = field(default_factory=dict)
    by_document: dict[tuple[str, int], _Entry] = field(default_factory=dict)

    def add(self, entry: _Entry) -> None:
        ignore = entry.ignore
        self.entries.setdefault(ignore.comment.document, []).append(entry)
        if ignore.covered is None:
            self.by_document.setdefault((entry.rule, ignore.comment.document), entry)
        else:
            self.by_line.setdefault((entry.rule, ignore.covered), entry)

    def find(self, rule: str, document: int, lines: Sequence[int]) -> _Entry | None:
        for line in lines:
            if entry := self.by_line.get((rule, line)):
                return entry
        return self.by_document.get((rule, document))


class IgnoreComments:
    """The comments in the texts of one review, and which of them suppress something."""

    def __init__(self, policy: Policy) -> None:
        self._allowed = policy.file.author_suppressions
        self._known = (*RULE_IDS, *(rule.id for rule in policy.file.expressions))
        self._suggestions = 0
        self._texts: dict[SourceText, _Comments] = {}

    def has_comments(self, text: SourceText) -> bool:
        """Whether a text has a comment that may suppress something."""
        return bool(self._comments(text).entries)

    def suppression(self, rule: str, written: Written, lines: Sequence[int]) -> Suppression | None:
        """What keeps a finding of a rule, whose value and key are on `lines`, from counting."""
        entry = self._comments(written.text).find(rule, written.document, lines)
        if entry is None:
            return None
        entry.is_used = True
        return Suppression(SuppressedBy.COMMENT, entry.ignore.reason)

    def problems(self, written: Written) -> Iterator[IgnoreProblem]:
        """What is wrong with the comments of a document, once all of its findings are known."""
        comments = self._comments(written.text)
        yield from comments.problems.get(written.document, ())
        for entry in comments.entries.get(written.document, ()):
            if not entry.is_used:
                message = f"the comment to ignore {entry.rule} suppresses no finding"
                yield IgnoreProblem(entry.ignore, message, f"remove {entry.rule} from the comment")

    def _comments(self, text: SourceText) -> _Comments:
        comments = self._texts.get(text)
        if comments is None:
            comments = self._texts[text] = _Comments()
            for ignore in ignores_in(text):
                document = ignore.comment.document
                comments.problems.setdefault(document, []).extend(self._problems(ignore))
                for rule in ignore.rules if ignore.reason else ():
                    if rule in self._known and self._allowed.allow(rule):
                        comments.add(_Entry(ignore, rule))
        return comments

    def _problems(self, ignore: Ignore) -> Iterator[IgnoreProblem]:
        if not ignore.rules:
            yield IgnoreProblem(ignore, "the comment to ignore findings names no rule", _FORM)
        elif not ignore.reason:
            names = shown(", ".join(ignore.rules))
            yield IgnoreProblem(ignore, f"the comment to ignore {names} has no reason", _FORM)
        for rule in ignore.rules:
            if rule not in self._known:
                yield IgnoreProblem(ignore, self._unknown(rule), "name a rule that exists")
            elif not self._allowed.allow(rule):
                message = f"the policy does not let authors ignore {rule}"
                remedy = "fix the finding, or ask the administrator to add the rule to "
                yield IgnoreProblem(
                    ignore, message, f"{remedy}authorSuppressions in the policy file"
                )

    def _unknown(self, rule: str) -> str:
        message = f"no rule is called {shown(rule)}"
        self._suggestions += 1
        if self._suggestions > _MAX_SUGGESTIONS:
            return message
        return message + suggestion(rule, self._known)
