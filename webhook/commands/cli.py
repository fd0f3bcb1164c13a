"""The command line: `raywarden serve | review | check | connect | network-policy | ca | ...`."""

import sys
from typing import Annotated

import typer

from webhook import __version__
from webhook.agent.command import enroll_command
from webhook.commands import ca, rules
from webhook.commands.check import check_command
from webhook.commands.connect import connect_command
from webhook.commands.network_policy import network_policy_command
from webhook.commands.review import review_command
from webhook.commands.review_fix import ReviewCommand
from webhook.commands.serve import serve_command
from webhook.settings import SetupError, unknown_variables

_SETUP_FAILED = 2

app = typer.Typer(
    name="raywarden",
    help="Makes Ray on Kubernetes secure by default.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve_command)
app.command("review", cls=ReviewCommand)(review_command)
app.command("check")(check_command)
app.command("connect")(connect_command)
app.command("network-policy")(network_policy_command)
app.command("enroll")(enroll_command)
app.add_typer(ca.app)
app.add_typer(rules.app)


def main() -> None:
    """Entry point of the `raywarden` command."""
    try:
        app(prog_name="raywarden")
    except SetupError as error:
        print(f"raywarden: {error}", file=sys.stderr)
        sys.exit(_SETUP_FAILED)


@app.callback(invoke_without_command=True)
def _before_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"raywarden {__version__}")
        raise typer.Exit()
    # `serve` refuses to start with unknown settings; the other commands only warn.
    if context.invoked_subcommand != "serve":
        for problem in unknown_variables():
            print(f"raywarden: warning: {problem}", file=sys.stderr)
