"""Output formats of commands that report."""

from enum import StrEnum


class OutputFormat(StrEnum):
    """Text for people, JSON for programs."""

    TEXT = "text"
    JSON = "json"
