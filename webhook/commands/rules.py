"""`raywarden rules`: the rules, the mutations, and the schema of the policy file."""

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console

from policies.problems import unknown_rule
from policies.registry import MUTATION_IDS, RULE_IDS, RULES
from webhook.commands import reference
from webhook.commands.rule_examples import Example
from webhook.commands.rule_explain import explain as lines_about
from webhook.policy import schema as policy_schema
from webhook.settings import SetupError, from_environment

app = typer.Typer(name="rules")


class RulesFormat(StrEnum):
    """The format of the list."""

    TEXT = "text"
    MARKDOWN = "markdown"


class ShownManifest(StrEnum):
    """The manifests of an example."""

    REFUSED = "refused"
    FIXED = "fixed"


@app.callback(invoke_without_command=True)
def rules(
    context: typer.Context,
    format: Annotated[
        RulesFormat, typer.Option("--format", "-f", help="Format of the list.")
    ] = RulesFormat.TEXT,
) -> None:
    """List all rules and mutations."""
    if context.invoked_subcommand is None:
        print(reference.markdown() if format is RulesFormat.MARKDOWN else reference.table(), end="")


@app.command()
def schema() -> None:
    """Print the JSON Schema (draft 2020-12) of the policy file, for editors and CI."""
    print(policy_schema.text(), end="")


@app.command()
def explain(
    id: Annotated[
        str, typer.Argument(metavar="ID", help="Id of a rule, for example no-open-ingress.")
    ],
    show: Annotated[
        ShownManifest | None, typer.Option(help="Print only this manifest of the example.")
    ] = None,
) -> None:
    """Explain a rule: why it exists, and an example before and after the fix."""
    rule = next((rule for rule in RULES if rule.id == id), None)
    if rule is None and id in MUTATION_IDS:
        raise SetupError(
            f"{id} is a mutation, not a rule; "
            "raywarden rules --format markdown describes what it writes"
        )
    if rule is None:
        raise SetupError(unknown_rule(id, RULE_IDS))
    example = Example.of(id)
    if show:
        print(example.refused if show is ShownManifest.REFUSED else example.fixed, end="")
        return
    console = Console()
    for line in lines_about(rule, example, from_environment()):
        # Only the terminal wraps lines, so that a message can be copied as a single line.
        console.print(line, soft_wrap=True)
