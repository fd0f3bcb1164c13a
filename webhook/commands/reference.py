"""The reference of rules, mutations, settings and metrics, generated from their own docstrings."""

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.model import Mutation, Rule
from policies.registry import MUTATIONS, RULES
from webhook.commands.rule_examples import Example
from webhook.metrics.registry import Label, Metrics
from webhook.reports.rule_texts import rule_text
from webhook.review.suppressions import AUTHOR_SUPPRESSIONS
from webhook.settings import Settings, defaults

_TYPE_NAMES = {"string": "string", "integer": "whole number", "boolean": "true or false"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a rule as it appears in the policy file; `default` is JSON."""

    name: str
    type: str
    default: str
    description: str


def table() -> str:
    """A line for each rule or mutation: id, profile (or `mutation`) and the first sentence."""
    rows = [(rule.id, str(rule.profile), _summary(rule)) for rule in RULES]
    rows += [(mutation.id, "mutation", _summary(type(mutation))) for mutation in MUTATIONS]
    width = max(len(name) for name, _, _ in rows)
    return "".join(f"{name:<{width}}  {level:<10}  {summary}\n" for name, level, summary in rows)


def markdown() -> str:
    """The whole reference of rules and mutations: the content of `policies/README.md`."""
    return "\n".join(_markdown())


def settings_table() -> str:
    """The settings and their defaults, as a Markdown table."""
    lines = ["| variable | default | |", "|---|---|---|"]
    for name, value in defaults().items():
        default = "" if value in (None, "") else f"`{value}`"
        description = Settings.model_fields[name].description
        lines.append(f"| `RAYWARDEN_{name.upper()}` | {default} | {description} |")
    return "\n".join(lines)


def metrics_table(metrics: Metrics) -> str:
    """Every metric of a server and the values of its labels, as a Markdown table."""
    lines = ["| metric | type | labels | |", "|---|---|---|---|"]
    for family in metrics.registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = "; ".join(map(_label_values, metrics.labels.get(family.name, ())))
        lines.append(f"| `{name}` | {family.type} | {labels} | {family.documentation} |")
    return "\n".join(lines)


def parameters(rule: type[Rule]) -> list[Parameter]:
    """The parameters of a rule, in the order of its fields."""
    if not rule.model_fields:
        return []
    fields = rule.model_json_schema()["properties"]
    values = rule().model_dump(mode="json", by_alias=True)
    return [
        Parameter(name, _type_name(field), json.dumps(values[name]), field["description"])
        for name, field in fields.items()
    ]


def paragraphs(documented: type[Rule] | type[Mutation]) -> str:
    """The docstring with an empty line before `Why:` and `Fix:`."""
    docstring = inspect.cleandoc(documented.__doc__ or "")
    return re.sub(r"\n+(?=(?:Why|Fix):)", "\n\n", docstring)


def _label_values(label: Label) -> str:
    values = label.description or ", ".join(f"`{value}`" for value in label.values)
    return f"`{label.name}`: {values}"


def _type_name(schema: Mapping[str, Any]) -> str:
    match schema["type"]:
        case "array":
            return f"list of {_type_name(schema['items'])}s"
        case "object":
            return f"mapping of text to {_type_name(schema['additionalProperties'])}"
        case name:
            return _TYPE_NAMES[name]


def _markdown() -> Iterator[str]:
    yield "# Rules and mutations\n"
    yield "`make docs` generates this file from the code; do not edit it."
    yield "`raywarden rules explain ID` prints the same for one rule, with the messages that its"
    yield "example gets.\n"
    yield "## Rules\n"
    yield "| rule | profile | severity | refuses |\n|---|---|---|---|"
    for rule in RULES:
        refuses = _summary(rule).removeprefix("Refuses ").removesuffix(".")
        yield f"| [{rule.id}](#{rule.id}) | {rule.profile} | {rule.severity} | {refuses} |"
    yield ""
    for rule in RULES:
        yield from _section(rule)
    yield f"### {AUTHOR_SUPPRESSIONS}\n"
    yield f"{rule_text(AUTHOR_SUPPRESSIONS).scope}\n"
    yield "## Mutations\n"
    for mutation in MUTATIONS:
        yield f"### {mutation.id}\n"
        yield paragraphs(type(mutation)) + "\n"


def _section(rule: type[Rule]) -> Iterator[str]:
    yield f"### {rule.id}\n"
    yield f"Profile {rule.profile}, severity {rule.severity}.\n"
    yield paragraphs(rule) + "\n"
    rows = parameters(rule)
    if rows:
        yield "| parameter | type | default | |\n|---|---|---|---|"
        for row in rows:
            yield f"| `{row.name}` | {row.type} | `{row.default}` | {row.description} |"
        yield ""
    yield "```diff"
    yield from Example.of(rule.id).difference()
    yield "```\n"


def _summary(documented: type[Rule] | type[Mutation]) -> str:
    return inspect.cleandoc(documented.__doc__ or "").partition("\n")[0]
