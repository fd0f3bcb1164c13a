"""The option `--fix[=all]` of `raywarden review`."""

from enum import StrEnum
from typing import Any

from typer.core import TyperCommand


class FixMode(StrEnum):
    """Which findings are fixed."""

    SAFE = "safe"
    ALL = "all"


class ReviewCommand(TyperCommand):
    """Reads `--fix` without a value as `--fix=safe`; the next argument is a file."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = ["--fix=safe" if arg == "--fix" else arg for arg in args[:end]]
        return super().parse_args(ctx, [*options, *args[end:]])
