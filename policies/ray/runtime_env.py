"""The runtime environments that stand in objects: of a job, or of Serve applications with one each.

Those handed over when a job is submitted never come past admission.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untrusted_yaml import UntrustedYamlError, load_all
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.workload import Workload

_PLACES = (
    ROOT / "spec" / "runtimeEnvYAML",
    ROOT / "spec" / "jobTemplate" / "runtimeEnvYAML",
    ROOT / "spec" / "serveConfigV2",
)
# A manifest's own limit is far above; a runtime environment of this size is no longer read, and said not to be.
_MAX_CHARACTERS = 128 * 1024
_MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class RuntimeEnvironment:
    """The YAML at `pointer`, and the environments in it; `problem` says why it could not be read."""

    pointer: Pointer
    content: str
    parts: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""

    @property
    def field(self) -> str:
        """The name of the field it stands in."""
        return str(self.pointer[-1])

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The names and literals of every `env_vars`."""
        for part in self.parts:
            for name, value in as_dict(part.get("env_vars")).items():
                if isinstance(value, str):
                    yield name, value


def runtime_environments(workload: Workload) -> Sequence[RuntimeEnvironment]:
    """Every runtime environment in an object, readable or not; read once."""
    found: Sequence[RuntimeEnvironment] | None = workload.memo.get("runtime_environments")
    if found is None:
        contents = ((pointer, as_str(pointer.read(workload.document))) for pointer in _PLACES)
        found = workload.memo["runtime_environments"] = [
            _read(pointer, content) for pointer, content in contents if content
        ]
    return found


def _read(pointer: Pointer, content: str) -> RuntimeEnvironment:
    try:
        if len(content) > _MAX_CHARACTERS:
            raise UntrustedYamlError(f"longer than {_MAX_CHARACTERS} characters")
        documents = list(islice(load_all(content, _MAX_NODES), 2))
        if len(documents) > 1:
            raise UntrustedYamlError("more than one document")
    except UntrustedYamlError as error:
        return RuntimeEnvironment(pointer, content, problem=str(error))
    return RuntimeEnvironment(pointer, content, tuple(_parts(documents)))


def _parts(documents: list[Any]) -> Iterator[Mapping[str, Any]]:
    """A runtime environment itself, or those of every application and deployment of a Serve config."""
    for document in map(as_dict, documents):
        applications = [application for _, application in dict_items(document.get("applications"))]
        deployments = [
            as_dict(deployment.get("ray_actor_options"))
            for application in applications
            for _, deployment in dict_items(application.get("deployments"))
        ]
        yield document
        yield from (as_dict(part.get("runtime_env")) for part in (*applications, *deployments))
