"""`raywarden test`: the cases of a policy file, as its administrator wrote them."""

import re
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from webhook.commands.outputs import output_option, outputs_of
from webhook.commands.outputs import write as write_outputs
from webhook.offline import offline_reviewer
from webhook.policy.schema import text_of
from webhook.policy_tests.cases import PolicyTest
from webhook.policy_tests.report import PolicyTestFormat, render
from webhook.policy_tests.run import Selected
from webhook.policy_tests.session import Session, exit_code
from webhook.settings import SetupError, from_environment


def test_command(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DIR|FILE",
            help="Test files, and folders with files *raywarden-test.yaml. "
            "Default: the current folder.",
        ),
    ] = None,
    run: Annotated[
        str, typer.Option("--run", metavar="REGEX", help="Run only cases with a matching name.")
    ] = "",
    write: Annotated[
        bool,
        typer.Option("--write", help="Record: write what admission decides as what is expected."),
    ] = False,
    output: Annotated[list[str] | None, output_option(PolicyTestFormat)] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of a test file, and exit.")
    ] = False,
) -> None:
    """Test a policy file: run the cases in raywarden-test.yaml as admission would.

    Exit codes: 0 if all cases are as expected, 1 if one differs, 2 if something could not be read.
    """
    if schema:
        print(text_of(PolicyTest, "RayWarden policy test"), end="")
        return
    outputs = outputs_of(output or [], PolicyTestFormat)
    folders = sources or [Path()]
    new_reviewer = partial(offline_reviewer, from_environment())
    session = Session(new_reviewer, Path.cwd(), _selector(run))
    result = session.write(folders) if write else session.run(folders)
    if run and not (result.cases or result.unreadable):
        raise SetupError(f"no case has a name that matches {run!r}")
    write_outputs(outputs, lambda format: [render(format, result)])
    raise typer.Exit(exit_code(result))


def _selector(expression: str) -> Selected:
    """Whether a name contains a match of a regular expression; raises SetupError."""
    try:
        pattern = re.compile(expression)
    except re.error as error:
        raise SetupError(f"--run {expression!r} is not a regular expression: {error}") from None
    return lambda name: pattern.search(name) is not None
