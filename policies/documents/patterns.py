"""Patterns of names, as administrators write them: `*` matches anything."""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase


def matches_any(value: str, patterns: Iterable[str]) -> bool:
    """True if `value` matches at least one of `patterns`."""
    return any(fnmatchcase(value, pattern) for pattern in patterns)


def matches_any_or_all(value: str, patterns: Collection[str]) -> bool:
    """`value` matches one of `patterns`, or there are none."""
    return not patterns or matches_any(value, patterns)
