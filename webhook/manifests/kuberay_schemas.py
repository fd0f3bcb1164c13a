"""The fields of KubeRay's kinds: RayWarden's own tables, or a folder of definitions."""

from pathlib import Path

import orjson

from policies.kuberay.schema import Schemas
from webhook.manifests.read import Manifest, UnreadableManifest, read
from webhook.settings import SetupError

# Written by `python -m tests.tools.kuberay_fields`.
_TABLE = Path(__file__).with_name("kuberay_fields.json")


def load_schemas(folder: Path | None = None) -> Schemas:
    """The schemas in a folder of CustomResourceDefinitions; for None, those RayWarden knows.

    Raises SetupError.
    """
    if folder is None:
        return Schemas.of_table(orjson.loads(_TABLE.read_bytes()))
    documents = []
    for result in read(str(folder)):
        if isinstance(result, UnreadableManifest):
            raise SetupError(f"--crds: {result.source}: {result.why}")
        if isinstance(result, Manifest):
            documents.append(result.document)
    schemas = Schemas.given(documents)
    if not schemas.kinds:
        raise SetupError(f"--crds: {folder} has no CustomResourceDefinition of KubeRay")
    return schemas
