"""Patterns of names, as administrators write them: `*` matches anything."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches_any(value: str, patterns: Iterable[str]) -> bool:
    """True if `value` matches at least one of `patterns`."""
    return any(fnmatchcase(value, pattern) for pattern in patterns)
