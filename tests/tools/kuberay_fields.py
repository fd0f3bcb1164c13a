"""Writes the field tables of KubeRay's kinds from its CustomResourceDefinitions.

Usage: python -m tests.tools.kuberay_fields FOLDER, where FOLDER has a folder for each release, such
as `1.7.0`, with the files of `helm-chart/kuberay-operator/crds`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from policies.kuberay.schema import Schemas
from tests.support.paths import REPOSITORY

TABLE = REPOSITORY / "webhook" / "manifests" / "kuberay_fields.json"


def definitions(folder: Path) -> list[Any]:
    """The documents of a folder of CustomResourceDefinitions."""
    # The safe loader is enough: the files are KubeRay's own.
    return [
        yaml.load(file.read_text(), Loader=yaml.CSafeLoader)
        for file in sorted(folder.glob("*.yaml"))
    ]


def schemas_below(folder: Path) -> Schemas:
    """The schemas of each release that has a folder below `folder`."""
    releases = {
        tuple(map(int, part.name.split("."))): definitions(part)
        for part in folder.iterdir()
        if part.is_dir()
    }
    return Schemas.of_definitions(releases)


def text_of(schemas: Schemas) -> str:
    """The table as it is stored: a line for each release and each node."""
    table = schemas.as_table()
    releases = [
        f"{json.dumps(name)}: {json.dumps(kinds)}" for name, kinds in table["releases"].items()
    ]
    nodes = [json.dumps(node, separators=(",", ":")) for node in table["nodes"]]
    separator = ",\n"
    return (
        f'{{"releases": {{\n{separator.join(releases)}}},\n"nodes": [\n{separator.join(nodes)}]}}\n'
    )


if __name__ == "__main__":
    TABLE.write_text(text_of(schemas_below(Path(sys.argv[1]))))
