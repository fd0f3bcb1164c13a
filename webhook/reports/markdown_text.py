"""Untrusted text inside Markdown: it cannot become Markdown, HTML, a link or a mention."""

import re
from collections.abc import Iterable
from pathlib import PurePosixPath
from urllib.parse import quote

from policies.documents.untyped import printable
from webhook.manifests.read import STDIN
from webhook.reports.groups import counted

# As character references these are text to every Markdown parser, also in tables.
_SYNTAX = re.compile(r"[!\"#$%&'*+:<=>?@\[\\\]^_`{|}~]|(?<=www)\.", re.IGNORECASE)
# GitHub and GitLab read references such as @name, #1, !1 and GH-1 from the finished HTML, where a
# character reference is no protection. They need the mark and the name to stand side by side.
_MARK = re.compile(r"(?<=[@#!$%&~^])(?=\w)|(?<=\bGH-)(?=\d)", re.IGNORECASE)
_ZERO_WIDTH = "&#8203;"


def escaped(text: str, limit: int) -> str:
    """Untrusted text as one line of plain words."""
    parts = _MARK.split(printable(text, limit))
    return _ZERO_WIDTH.join(_references(part) for part in parts)


def code(text: str, limit: int) -> str:
    """Untrusted text as inline code, which can be copied as it is."""
    return f"<code>{_references(printable(text, limit))}</code>"


def link_to(file: str, line: int, limit: int) -> str:
    """The place as a link, if the file is named relative to where the tool runs."""
    title = code(f"{file}:{line}", limit)
    path = PurePosixPath(file)
    if not file.isprintable() or file in ("", STDIN):
        return title
    if path.is_absolute() or ".." in path.parts:
        return title
    address = quote(path.as_posix())
    return f"[{title}]({address}#L{line})" if len(address) <= limit else title


def fitting(parts: Iterable[str], most_bytes: int, noun: str) -> str:
    """As many of the parts as fit, and a line that says how many are left out."""
    kept: list[str] = []
    used = left = 0
    for part in parts:
        used += len(part.encode())
        if used > most_bytes:
            left += 1
        else:
            kept.append(part)
    if left:
        kept.append(f"\n{counted(left, noun)} left out: this comment has room for no more.\n")
    return "".join(kept)


def _references(text: str) -> str:
    return _SYNTAX.sub(lambda match: f"&#{ord(match[0])};", text)
