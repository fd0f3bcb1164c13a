"""Rules in SARIF: what code scanning shows beside an alert, and what it sorts alerts by."""

from collections.abc import Mapping
from typing import Any

from policies.model import Severity
from policies.registry import RULE_IDS
from webhook.reports.rule_texts import RuleText, rule_text

# GitHub cuts longer descriptions in the middle of a word.
_MAX_CHARACTERS = 1_000

# What GitHub calls critical begins with 9.0, high with 7.0, and medium with 4.0.
_SCORES: Mapping[Severity, str] = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
}
_LEVELS: Mapping[Severity, str] = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
}


def descriptor(id: str, severity: Severity, url: str) -> dict[str, Any]:
    """The `reportingDescriptor` of a rule, which holds its whole text; `url` may be empty."""
    text = rule_text(id)
    return {
        "id": id,
        "name": id.title().replace("-", ""),
        "shortDescription": {"text": _clipped(text.summary)},
        "fullDescription": {"text": _clipped(text.scope)},
        "help": {"text": _help(text, ""), "markdown": _markdown(id, text, url)},
        **({"helpUri": url} if url else {}),
        "defaultConfiguration": {"level": _LEVELS[severity]},
        "properties": {
            "security-severity": _SCORES[severity],
            "precision": "high",
            "tags": ["security", "kubernetes", "ray"],
        },
    }


def _markdown(id: str, text: RuleText, url: str) -> str:
    paragraphs = [_help(text, "**")]
    if id in RULE_IDS:
        paragraphs.append(f"`raywarden rules explain {id}` shows an example.")
    if url:
        paragraphs.append(f"[{id}]({url}) in the documentation")
    return "\n\n".join(paragraphs)


def _help(text: RuleText, mark: str) -> str:
    paragraphs = [text.scope]
    if text.why:
        paragraphs.append(f"{mark}Why:{mark} {text.why}")
    if text.fix:
        paragraphs.append(f"{mark}Fix:{mark} {text.fix}")
    return "\n\n".join(paragraphs)


def _clipped(text: str) -> str:
    if len(text) <= _MAX_CHARACTERS:
        return text
    return text[:_MAX_CHARACTERS].rpartition(" ")[0] + " ..."
