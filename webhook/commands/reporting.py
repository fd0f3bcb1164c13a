"""What `review` and `scan` have in common: the options of their reports, and how they end."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, NoReturn

import typer

from policies.model import Severity
from webhook.commands.outputs import Output, output_option, write
from webhook.reports.formats import ReportFormat, pieces, text_lines
from webhook.review.finding import Level
from webhook.review.results import Results

_PASSED, _FAILED, _INCOMPLETE = 0, 1, 2


class FailOn(StrEnum):
    """The level of findings from which on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NEVER = "never"

    @property
    def level(self) -> Level | None:
        return None if self is FailOn.NEVER else Level(self.value)


OutputOption = Annotated[list[str] | None, output_option(ReportFormat)]
FailOnOption = Annotated[
    FailOn, typer.Option(help="Exit with 1 for findings of this level and worse ones.")
]
MinSeverityOption = Annotated[
    Severity, typer.Option(help="Leave out findings of a lower severity.")
]


def report(
    results: Results,
    outputs: Sequence[Output[ReportFormat]],
    fail_on: FailOn,
    *,
    verbose: bool,
    stdout_is_taken: bool = False,
    is_complete: bool = True,
) -> NoReturn:
    """Write the results in every format, and end the command; raises SetupError and typer.Exit."""
    write(
        outputs,
        lambda format: pieces(format, results, verbose=verbose, fail_on=fail_on.level),
        lines=lambda format: text_lines(format, results, verbose=verbose),
        stdout_is_taken=stdout_is_taken,
    )
    if results.unreadable or not is_complete:
        raise typer.Exit(_INCOMPLETE)
    raise typer.Exit(_FAILED if results.fails_at(fail_on.level) else _PASSED)
