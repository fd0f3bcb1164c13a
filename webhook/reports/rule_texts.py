"""What reports say about a rule: its summary, why it exists, and how to fix what it finds."""

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass

from policies.model import Rule
from policies.registry import RULES
from webhook.review.suppressions import AUTHOR_SUPPRESSIONS

_PARAGRAPH = re.compile(r"\n+(?=(?:Why|Fix):)")


@dataclass(frozen=True, slots=True)
class RuleText:
    """The documentation of a rule, a paragraph each; `summary` is the first line of `scope`."""

    summary: str
    scope: str
    why: str = ""
    fix: str = ""


def rule_text(id: str) -> RuleText:
    """The documentation of a rule; of a rule of the policy file, only that it is one."""
    own = f"{id} is a rule of the policy file."
    return _TEXTS.get(id) or RuleText(own, own)


def _text_of(rule: type[Rule]) -> RuleText:
    scope, *paragraphs = _PARAGRAPH.split(inspect.cleandoc(rule.__doc__ or ""))
    named = {text[:3].lower(): " ".join(text[4:].split()) for text in paragraphs}
    return RuleText(scope.partition("\n")[0], " ".join(scope.split()), **named)


_COMMENTS = "Notes comments that suppress nothing."
_TEXTS: Mapping[str, RuleText] = {
    **{rule.id: _text_of(rule) for rule in RULES},
    AUTHOR_SUPPRESSIONS: RuleText(
        _COMMENTS,
        f"{_COMMENTS} This is not a rule of admission: only `raywarden review` reads comments such "
        "as `# raywarden: ignore[no-root] REASON`, where `authorSuppressions` in the policy file "
        "lets authors write them.",
        "a comment that suppresses nothing today may hide a new finding tomorrow.",
        "give a reason, name a rule that the policy lists, or remove the comment.",
    ),
}
