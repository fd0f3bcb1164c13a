"""The runtime environments that stand in objects: of a job, or of Serve applications with one each.

Those handed over when a job is submitted never come past admission.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.pointer import ROOT, Pointer
from policies.reading import elements, mapping, text
from policies.untrusted_yaml import UntrustedYamlError, load_all
from policies.workload import Workload

_PLACES = (
    ROOT / "spec" / "runtimeEnvYAML",
    ROOT / "spec" / "jobTemplate" / "runtimeEnvYAML",
    ROOT / "spec" / "serveConfigV2",
)
# A manifest's own limit is far above; a runtime environment of this size is no longer read, and said not to be.
_MAX_CHARACTERS = 256 * 1024


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
            for name, value in mapping(part.get("env_vars")).items():
                if isinstance(value, str):
                    yield name, value


def runtime_environments(workload: Workload) -> Iterator[RuntimeEnvironment]:
    """Every runtime environment in an object, readable or not."""
    for pointer in _PLACES:
        content = text(pointer.read(workload.document))
        if content:
            yield _read(pointer, content)


def _read(pointer: Pointer, content: str) -> RuntimeEnvironment:
    try:
        if len(content) > _MAX_CHARACTERS:
            raise UntrustedYamlError(f"longer than {_MAX_CHARACTERS} characters")
        documents = list(load_all(content))
    except UntrustedYamlError as error:
        return RuntimeEnvironment(pointer, content, problem=str(error))
    return RuntimeEnvironment(pointer, content, tuple(_parts(documents)))


def _parts(documents: list[Any]) -> Iterator[Mapping[str, Any]]:
    """A runtime environment itself, or those of every application and deployment of a Serve config."""
    for document in map(mapping, documents):
        applications = [application for _, application in elements(document.get("applications"))]
        deployments = [
            mapping(deployment.get("ray_actor_options"))
            for application in applications
            for _, deployment in elements(application.get("deployments"))
        ]
        yield document
        yield from (mapping(part.get("runtime_env")) for part in (*applications, *deployments))
