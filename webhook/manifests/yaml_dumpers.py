"""YAML as people write manifests."""

from typing import Any

import yaml


class PlainDumper(yaml.SafeDumper):
    """Writes no anchors and aliases: a value that stands in two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


class IndentingDumper(PlainDumper):
    """Indents lists below their key, too."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)
