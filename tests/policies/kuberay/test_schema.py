"""The field tables, against KubeRay's CustomResourceDefinitions.

`KUBERAY_CRDS` is a folder of the definitions of one release, or of a folder for each release.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from policies.kuberay.schema import NEWEST, Schemas
from tests.policies.kuberay.judging import SCHEMAS
from tests.support import factory
from tests.tools.kuberay_fields import TABLE, definitions, schemas_below, text_of
from webhook.commands.cli import command_line
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.settings import SetupError

_CRDS = os.environ.get("KUBERAY_CRDS")


def expanded(schemas: Schemas, release: tuple[int, ...]) -> dict[str, Any]:
    """Each kind of a release as a tree, whatever the numbers of its nodes are."""

    def tree(number: int) -> Any:
        raw = dict(schemas.as_table()["nodes"][number])
        raw["fields"] = {name: tree(child) for name, child in raw.get("fields", {}).items()}
        for part in ("values", "items"):
            if part in raw:
                raw[part] = tree(raw[part])
        return raw

    return {kind: tree(number) for kind, number in schemas.kinds[release].items()}


def folder() -> Path:
    if not _CRDS:
        pytest.skip("KUBERAY_CRDS is not set: there are no definitions to compare with")
    return Path(_CRDS)


def test_the_table_has_the_fields_of_the_definitions() -> None:
    crds = folder()
    if list(crds.glob("*.yaml")):
        given = expanded(Schemas.given(definitions(crds)), NEWEST)
        assert given in [expanded(SCHEMAS, release) for release in SCHEMAS.kinds]
    else:
        theirs = schemas_below(crds)
        assert text_of(theirs) == TABLE.read_text()


def test_the_releases_that_are_known() -> None:
    assert list(SCHEMAS.kinds) == [(1, 5, 0), (1, 5, 1), (1, 6, 0), NEWEST]


@pytest.mark.parametrize(
    ("release", "table"),
    [
        (None, NEWEST),
        ((1, 4), (1, 5, 0)),
        ((1, 5), (1, 5, 1)),
        ((1, 5, 0), (1, 5, 0)),
        ((1, 6, 2), (1, 6, 0)),
        ((1, 7), NEWEST),
        ((1, 8), None),
        ((2,), None),
    ],
)
def test_the_table_for_a_release(release: Any, table: Any) -> None:
    assert SCHEMAS.table_for(release) == table


def definition(fields: dict[str, Any]) -> dict[str, Any]:
    spec = {"type": "object", "properties": fields}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "schema": schema}
    names = {"kind": "RayCluster"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "rayclusters.ray.io"},
        "spec": {"group": "ray.io", "names": names, "versions": [version]},
    }


def test_own_definitions_replace_the_tables(tmp_path: Path) -> None:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    fields = {"headGroupSpec": anything, "own": {"type": "integer"}}
    (tmp_path / "crds").mkdir()
    (tmp_path / "crds" / "a.yaml").write_text(yaml.safe_dump(definition(fields)))
    document = factory.ray_cluster()
    document["spec"] = {"headGroupSpec": document["spec"]["headGroupSpec"], "own": "1", "other": 1}
    (tmp_path / "cluster.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    arguments = ["review", str(tmp_path / "cluster.yaml"), "--crds", str(tmp_path / "crds")]
    lines = CliRunner().invoke(command_line(arguments), arguments).stdout.splitlines()
    found = [line.partition("kuberay-accepts: ")[2] for line in lines if "kuberay-accepts" in line]
    assert [message.partition(" (")[0] for message in found] == [
        "the API server refuses spec.own: it must be a whole number, not a string",
        "the CustomResourceDefinition has no field other in spec: kubectl refuses it, and other "
        "clients drop it",
    ]


def test_a_folder_without_definitions(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(factory.ray_cluster()))
    with pytest.raises(SetupError, match="has no CustomResourceDefinition of KubeRay"):
        load_schemas(tmp_path)
    with pytest.raises(SetupError, match="No such file"):
        load_schemas(tmp_path / "missing")
