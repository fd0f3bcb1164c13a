"""New values as text, in the style of the place they go to."""

import json
from dataclasses import dataclass
from typing import Any

import yaml

from policies.documents.yaml_scalars import scalar_value
from webhook.manifests.yaml_dumpers import PlainDumper

_WIDTH = 1_000_000


@dataclass(frozen=True, slots=True)
class Style:
    """How a file is written: its line ends, its indentation, and whether it is JSON.

    `step` is the indentation of a mapping in a mapping, `list_step` of a list in a mapping.
    """

    eol: str = "\n"
    step: int = 2
    list_step: int = 0
    is_json: bool = False


class _Dumper(PlainDumper):
    """Quotes every text that kubectl would read as something else than text."""

    indents_lists = False

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless and not self.indents_lists)


class _IndentingDumper(_Dumper):
    indents_lists = True


def _text_node(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # `kubectl` reads more words as booleans and numbers than PyYAML.
    plain = scalar_value(yaml.ScalarEvent(None, None, (True, False), value))
    style = None if plain == value else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style)


_Dumper.add_representer(str, _text_node)
_IndentingDumper.add_representer(str, _text_node)


def inline(value: Any, style: Style, quote: str = "") -> str:
    """`value` in one line; a text gets the quotes `quote` that the value before had."""
    if style.is_json or (quote == '"' and isinstance(value, str)):
        return json.dumps(value, ensure_ascii=False)
    if quote == "'" and isinstance(value, str) and value.isprintable():
        doubled = value.replace("'", "''")
        return f"'{doubled}'"
    text = yaml.dump(
        value, Dumper=_Dumper, default_flow_style=True, width=_WIDTH, sort_keys=False,
        allow_unicode=True,
    )  # fmt: skip
    return text.removesuffix("\n").removesuffix("...").removesuffix("\n")


def block(value: Any, column: int, style: Style) -> str:
    """A mapping or list in YAML's block style, as whole lines that begin at `column`."""
    text = yaml.dump(
        value,
        Dumper=_IndentingDumper if style.list_step else _Dumper,
        default_flow_style=False,
        indent=style.step,
        width=_WIDTH,
        sort_keys=False,
        allow_unicode=True,
    )
    lines = (" " * column + line for line in text.splitlines())
    return "".join(line + style.eol for line in lines)


def members(values: dict[str, Any], separator: str, style: Style, *, quoted: bool) -> str:
    """The members of a flow mapping, as they stand between its braces."""
    return separator.join(
        f"{json.dumps(name) if quoted else inline(name, style)}: {inline(value, style)}"
        for name, value in values.items()
    )
