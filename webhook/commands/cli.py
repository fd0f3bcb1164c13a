"""The command line: `raywarden serve | review | test | scan | check | ca | ...`."""

import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated

import typer

from webhook import __version__
from webhook.commands.enroll import EnrollCommand
from webhook.commands.fix_option import ReviewCommand
from webhook.commands.setup_failure import setup_failures
from webhook.settings import unknown_variables

# What commands read and find stays in memory until they end, so looking for garbage is rarely of
# use. The server keeps Python's own threshold, for short pauses.
_COLLECTED_AFTER = 100_000
# Where each command is. Only the module of the one that runs is imported.
_COMMANDS = {
    "serve": "webhook.commands.serve:serve_command",
    "review": "webhook.commands.review:review_command",
    "test": "webhook.commands.test:test_command",
    "scan": "webhook.commands.scan:scan_command",
    "check": "webhook.commands.check:check_command",
    "connect": "webhook.commands.connect:connect_command",
    "network-policy": "webhook.commands.network_policy:network_policy_command",
    "unregister": "webhook.commands.unregister:unregister_command",
    "enroll": "webhook.commands.enroll:enroll_command",
    "ca": "webhook.commands.ca:app",
    "rules": "webhook.commands.rules:app",
    "policy": "webhook.commands.policy:app",
}
_CLASSES = {"review": ReviewCommand, "enroll": EnrollCommand}


def main() -> None:
    """Entry point of the `raywarden` command."""
    with setup_failures():
        _loaded(sys.argv[1:])(prog_name="raywarden")


def _loaded(arguments: Sequence[str]) -> typer.Typer:
    """The command line, without the garbage collection that importing it would cause."""
    # Modules, classes and functions live until the end: a collection frees none of them.
    gc.disable()
    try:
        return command_line(arguments)
    finally:
        gc.freeze()
        gc.enable()
        if "serve" not in arguments:
            gc.set_threshold(_COLLECTED_AFTER)


def command_line(arguments: Sequence[str]) -> typer.Typer:
    """The command line with the commands that `arguments` need."""
    app = typer.Typer(
        name="raywarden",
        help="Makes Ray on Kubernetes secure by default.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback(invoke_without_command=True)(_before_command)
    for name in _needed(arguments):
        _add(app, name)
    return app


def _needed(arguments: Sequence[str]) -> Sequence[str]:
    """The command that `arguments` name; all of them for help, completion and misspelled names."""
    named = next((argument for argument in arguments if not argument.startswith("-")), "")
    return [named] if named in _COMMANDS else list(_COMMANDS)


def _add(app: typer.Typer, name: str) -> None:
    module, _, attribute = _COMMANDS[name].partition(":")
    member = getattr(import_module(module), attribute)
    if isinstance(member, typer.Typer):
        app.add_typer(member)
    else:
        # None is Typer's own class.
        app.command(name, cls=_CLASSES.get(name))(member)


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
