"""`raywarden rules`: what is refused and injected, and what the policy file may say about it."""

from enum import StrEnum
from typing import Annotated

import typer

from webhook import policy_schema, reference

app = typer.Typer(name="rules")


class RulesFormat(StrEnum):
    """How `rules` lists."""

    TEXT = "text"
    MARKDOWN = "markdown"


@app.callback(invoke_without_command=True)
def rules(
    context: typer.Context,
    format: Annotated[RulesFormat, typer.Option("--format", "-f", help="How to list them.")] = RulesFormat.TEXT,
) -> None:
    """List the rules and the mutations."""
    if context.invoked_subcommand is None:
        print(reference.markdown() if format is RulesFormat.MARKDOWN else reference.table(), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the policy file, for editors and CI."""
    print(policy_schema.text(), end="")
