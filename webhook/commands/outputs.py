"""`--output FORMAT[=FILE]`, which may be given several times."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from webhook.commands.terminal import print_lines
from webhook.reports.formats import ReportFormat, render
from webhook.reports.text_report import text
from webhook.review.results import Results
from webhook.settings import SetupError


@dataclass(frozen=True, slots=True)
class Output:
    """A format, and the file it goes to; None is standard output."""

    format: ReportFormat
    file: Path | None = None

    @classmethod
    def parse(cls, option: str) -> "Output":
        """The value of the option; raises SetupError."""
        name, _, file = option.partition("=")
        try:
            format = ReportFormat(name)
        except ValueError:
            names = ", ".join(ReportFormat)
            raise SetupError(f"--output {name!r} is not a format: use one of {names}") from None
        if "=" in option and not file:
            raise SetupError(f"--output {option}: name a file after =")
        return cls(format, Path(file) if file else None)


def outputs_of(options: Sequence[str]) -> list[Output]:
    """Every output; text on standard output if none is chosen. Raises SetupError."""
    outputs = [Output.parse(option) for option in options] or [Output(ReportFormat.TEXT)]
    if sum(output.file is None for output in outputs) > 1:
        raise SetupError(
            "only one --output can go to standard output: write --output FORMAT=FILE for the others"
        )
    return outputs


def write(
    outputs: Sequence[Output],
    results: Results,
    *,
    stdout_is_taken: bool = False,
    verbose: bool = False,
) -> None:
    """Write the results in every format; raises SetupError.

    If something else goes to standard output, text goes to standard error. `verbose` is for text.
    """
    for output in outputs:
        if output.file is None:
            stream = sys.stderr if stdout_is_taken else sys.stdout
            if output.format is ReportFormat.TEXT:
                print_lines(text(results, verbose=verbose), stream)
            else:
                stream.write(render(output.format, results))
            continue
        content = render(output.format, results, verbose=verbose)
        try:
            output.file.write_text(content, "utf-8")
        except OSError as error:
            raise SetupError(f"{output.file}: {error.strerror}") from None
