"""The runtime environments in an object: that of a job, or those of Serve applications.

A runtime environment passed to Ray when a job is submitted never reaches admission.
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
# Parsing costs time in a request, so larger ones are not parsed but reported as unreadable. An
# object may be far larger, but no real runtime environment comes near these limits.
_MAX_CHARACTERS = 128 * 1024
_MAX_NODES = 20_000


@dataclass(frozen=True, slots=True)
class RuntimeEnvironment:
    """The YAML at `pointer` and the environments in it; `problem` says why it is unreadable.

    The first of the `parts` is the whole document.
    """

    pointer: Pointer
    content: str
    parts: tuple[Mapping[str, Any], ...] = ()
    problem: str = ""

    @property
    def field(self) -> str:
        """The name of the field that contains it."""
        return str(self.pointer[-1])

    @property
    def variables(self) -> Iterator[tuple[str, str]]:
        """The name and literal of each entry of every `env_vars`."""
        for part in self.parts:
            for name, value in as_dict(part.get("env_vars")).items():
                if isinstance(value, str):
                    yield name, value

    @property
    def settings(self) -> Iterator[tuple[str, str]]:
        """Each text in the document, at any depth, with the nearest name above it.

        This includes `env_vars`, and the `args` and `user_config` of Serve applications.
        """
        waiting: list[tuple[Any, Any]] = [("", part) for part in self.parts[:1]]
        while waiting:
            name, value = waiting.pop()
            if isinstance(value, str):
                yield as_str(name), value
            elif isinstance(value, dict):
                waiting += reversed(value.items())
            elif isinstance(value, list):
                waiting += [(name, item) for item in reversed(value)]


def runtime_environments(workload: Workload) -> Sequence[RuntimeEnvironment]:
    """Every runtime environment in the object, readable or not.

    They are parsed once for each workload, because several rules read them.
    """
    cached: Sequence[RuntimeEnvironment] | None = workload.memo.get("runtime_environments")
    if cached is not None:
        return cached
    environments = []
    for pointer in _PLACES:
        content = as_str(pointer.read(workload.document))
        if content:
            environments.append(_parse(pointer, content))
    workload.memo["runtime_environments"] = environments
    return environments


def _parse(pointer: Pointer, content: str) -> RuntimeEnvironment:
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
    """The document itself, then the environments of a Serve config.

    A Serve config can have one in each application and in each deployment's actor options.
    """
    for document in map(as_dict, documents):
        applications = [application for _, application in dict_items(document.get("applications"))]
        yield document
        for application in applications:
            yield as_dict(application.get("runtime_env"))
        for application in applications:
            for _, deployment in dict_items(application.get("deployments")):
                options = as_dict(deployment.get("ray_actor_options"))
                yield as_dict(options.get("runtime_env"))
