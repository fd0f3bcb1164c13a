"""`--output FORMAT[=FILE]`, which may be given several times."""

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Generic, TypeVar

import typer
from rich.text import Text

from webhook.commands.terminal import print_lines
from webhook.settings import SetupError

# The formats of a command; the first is the default.
Format = TypeVar("Format", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Output(Generic[Format]):
    """A format, and the file it goes to; None is standard output."""

    format: Format
    file: Path | None = None

    @classmethod
    def parse(cls, option: str, formats: type[Format]) -> "Output[Format]":
        """The value of the option; raises SetupError."""
        name, _, file = option.partition("=")
        try:
            format = formats(name)
        except ValueError:
            names = ", ".join(formats)
            raise SetupError(f"--output {name!r} is not a format: use one of {names}") from None
        if "=" in option and not file:
            raise SetupError(f"--output {option}: name a file after =")
        return cls(format, Path(file) if file else None)


def output_option(formats: type[StrEnum]) -> Any:
    """The option `--output` of a command with these formats."""
    return typer.Option(
        "--output",
        "-o",
        metavar="FORMAT[=FILE]",
        help=f"Format of the report ({', '.join(formats)}), and a file for it. "
        "May be given several times.",
    )


def outputs_of(options: Sequence[str], formats: type[Format]) -> list[Output[Format]]:
    """Every output; the first format on standard output if none is chosen. Raises SetupError."""
    outputs = [Output.parse(option, formats) for option in options]
    outputs = outputs or [Output(next(iter(formats)))]
    if sum(output.file is None for output in outputs) > 1:
        raise SetupError(
            "only one --output can go to standard output: write --output FORMAT=FILE for the others"
        )
    return outputs


def write(
    outputs: Sequence[Output[Format]],
    pieces: Callable[[Format], Iterable[str]],
    *,
    lines: Callable[[Format], Iterable[Text] | None] | None = None,
    stdout_is_taken: bool = False,
) -> None:
    """Write what `pieces` returns for every format; raises SetupError.

    `lines` returns the same for a format that has colors on a terminal, else None. If something
    else goes to standard output, text goes to standard error.
    """
    for output in outputs:
        if output.file is None:
            stream = sys.stderr if stdout_is_taken else sys.stdout
            colored = lines(output.format) if lines else None
            if colored is None:
                stream.writelines(pieces(output.format))
            else:
                print_lines(colored, stream)
            continue
        try:
            with output.file.open("w", encoding="utf-8") as file:
                file.writelines(pieces(output.format))
        except OSError as error:
            raise SetupError(f"{output.file}: {error.strerror}") from None
