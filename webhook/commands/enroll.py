"""`raywarden enroll` in the list of commands; the program itself is in `webhook/agent`."""

from typing import Any

import typer
from typer.core import TyperCommand


class EnrollCommand(TyperCommand):
    """Leaves its arguments, `--help` too, to the program, which has a parser that starts fast."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return []


def enroll_command(context: typer.Context) -> None:
    """Create a private key in this pod, obtain a certificate for it, and write both for Ray.

    The init container that RayWarden injects runs this command.
    """
    from webhook.agent.command import run

    raise typer.Exit(run(context.args))
