"""What occurs anywhere in the pods of a workload, for questions that most workloads answer with no.

A rule asks here first, and looks at single containers only if one of them may concern it. That
matters for a cluster with many groups: most rules find nothing in most of them.
"""

from collections.abc import Iterable, Sequence
from itertools import chain, compress, groupby, repeat
from operator import attrgetter
from typing import Any

from propcache.api import cached_property

from policies.documents.untyped import as_dict, as_str
from policies.ray.pod import Container, Pod
from policies.ray.ray_start import REFERENCE, RUNNING, words_at

_by_list, _raw_of = attrgetter("list_name"), attrgetter("raw")


class Summary:
    """Names and texts in `pods` and `containers`, each once and without their places.

    Texts are joined by line breaks, so that one search covers all of them.
    """

    def __init__(self, pods: Sequence[Pod], containers: Sequence[Container]) -> None:
        self._pods = pods
        self._containers = containers

    @cached_property
    def _raws(self) -> Sequence[dict[str, Any]]:
        """The containers as they are written, those of the same list one after the other."""
        return list(map(_raw_of, sorted(self._containers, key=_by_list)))

    def values_of(self, field: str) -> Sequence[Any]:
        """What the containers have in a field; of equal values in a row the first.

        The containers of most groups are alike. Equal in Python are also `true` and 1: who reads
        more than texts and names must not rely on the values left out.
        """
        return _without_repetition(_each(self._raws, field))

    @cached_property
    def fields(self) -> frozenset[str]:
        """The names of all fields of pods, volumes, containers, ports and security contexts."""
        names = set(self.volume_fields).union(*self._raws)
        for pod in self._pods:
            names.update(pod.spec, pod.security_context)
        if "ports" in names:
            names.update(*_objects(self.values_of("ports")))
        for context in map(as_dict, self.values_of("securityContext")):
            names.update(context, as_dict(context.get("capabilities")))
        return frozenset(names)

    @cached_property
    def volume_fields(self) -> frozenset[str]:
        """The names of all fields of volumes, which are their types."""
        lists = _without_repetition([pod.spec.get("volumes") for pod in self._pods])
        return frozenset[str]().union(*_objects(lists))

    @cached_property
    def variables(self) -> frozenset[str]:
        """The names of all variables."""
        return _texts(_each(self._env, "name"))

    @cached_property
    def variable_text(self) -> str:
        """The names of all variables."""
        return "\n".join(self.variables)

    @cached_property
    def literal_text(self) -> str:
        """The literals of all variables."""
        return "\n".join(_texts(_each(self._env, "value")))

    @cached_property
    def sources(self) -> frozenset[str]:
        """What variables take their values from, such as `fieldRef` and `secretKeyRef`."""
        sources = filter(None, _each(self._env, "valueFrom"))
        return frozenset[str]().union(*(source for source in sources if isinstance(source, dict)))

    @cached_property
    def resources(self) -> frozenset[str]:
        """The names of everything that containers request or limit."""
        names = set[str]()
        for resources in map(as_dict, self.values_of("resources")):
            names.update(as_dict(resources.get("requests")), as_dict(resources.get("limits")))
        return frozenset(names)

    @cached_property
    def mount_paths(self) -> str:
        """The paths of all mounts; a mount without one has an empty line."""
        mounts = _objects(self.values_of("volumeMounts"))
        return "\n".join(set(map(as_str, _each(mounts, "mountPath"))))

    @cached_property
    def command_words(self) -> frozenset[str]:
        """Every word that the containers can run."""
        words = set[str]()
        for field in filter(self.fields.__contains__, RUNNING):
            for value in filter(None, self.values_of(field)):
                words.update(*(words_at(place[1:], value) for place in RUNNING[field]))
        return frozenset(words)

    @cached_property
    def command_text(self) -> str:
        """Every word that the containers can run."""
        return "\n".join(self.command_words)

    @cached_property
    def expands_literals(self) -> bool:
        """A command refers by `$(NAME)` to a variable that has a literal in some container.

        Without one, a command runs what it says.
        """
        if "$(" not in self.command_text:
            return False
        literals = _texts(compress(_each(self._env, "name"), _each(self._env, "value")))
        return not literals.isdisjoint(REFERENCE.findall(self.command_text))

    @cached_property
    def _env(self) -> Sequence[dict[str, Any]]:
        return _objects(self.values_of("env"))


def _without_repetition(values: Iterable[Any]) -> Sequence[Any]:
    return [value for value, _ in groupby(values)]


def _objects(lists: Sequence[Any]) -> Sequence[dict[str, Any]]:
    """The objects in the lists among `lists`."""
    items = list(chain.from_iterable(part for part in lists if isinstance(part, list)))
    # Nearly every list has nothing else, and needs no closer look.
    return items if set(map(type, items)) <= {dict} else [i for i in items if isinstance(i, dict)]


def _each(items: Iterable[dict[str, Any]], field: str) -> Iterable[Any]:
    # Much faster than a loop: workloads have hundreds of variables.
    return map(dict.get, items, repeat(field))


def _texts(values: Iterable[Any]) -> frozenset[str]:
    """The texts among `values`, each once."""
    values = list(values)
    try:
        texts = frozenset(values) - {None}
    except TypeError:
        texts = frozenset(value for value in values if isinstance(value, str))
    is_plain = set(map(type, texts)) <= {str}
    return texts if is_plain else frozenset(text for text in texts if isinstance(text, str))
