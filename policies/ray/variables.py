"""The variables of a container by name, read in one pass: pods of Ray have dozens of them."""

from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import compress
from operator import itemgetter, methodcaller
from typing import Any

from propcache.api import cached_property

from policies.documents.untyped import as_str, dict_items

# An entry of `env` with its index.
Variable = tuple[int, Mapping[str, Any]]
_name_of = itemgetter("name")
_source_of = methodcaller("get", "valueFrom")


class Variables:
    """The entries of `env` by name. If a name occurs more than once, Kubernetes uses the last.

    `names`: all names that are text.
    """

    def __init__(self, env: Any) -> None:
        self._env = env if isinstance(env, list) else []
        # Nearly every list has only objects with different names, and needs no closer look.
        self._ordered: list[str] = []
        self._by_name: dict[str, list[Variable]] | None = None
        try:
            self._ordered = list(map(_name_of, self._env))
            self.names: Set[str] = frozenset(self._ordered)
            is_plain = len(self.names) == len(self._env) and set(map(type, self.names)) <= {str}
        except (KeyError, TypeError):
            is_plain = False
        if not is_plain:
            self._by_name = _grouped(self._env)
            names = (entry.get("name") for _, entry in dict_items(self._env))
            self.names = frozenset(name for name in names if isinstance(name, str))

    def __iter__(self) -> Iterator[str]:
        """Each name once, in the order of the list; empty for entries without a name."""
        return iter(self._ordered if self._by_name is None else self._by_name)

    def of(self, name: str) -> Sequence[Variable]:
        """The entries of this name; none if it is not set."""
        if self._by_name is not None:
            return self._by_name.get(name, ())
        if name not in self.names:
            return ()
        place = self._places[name]
        return [(place, self._env[place])]

    def has_in_a_row(self, entries: Sequence[Mapping[str, Any]]) -> bool:
        """The list has exactly these entries one after the other, and no other of their names."""
        first = entries[0]["name"]
        if self._by_name is not None or first not in self.names:
            return False
        place = self._places[first]
        return self._env[place : place + len(entries)] == entries

    def like(self, prefix: str) -> set[str]:
        """The names that begin with `prefix`; fast if there are none."""
        if prefix not in self._text:
            return set()
        return {name for name in self.names if name.startswith(prefix)}

    @cached_property
    def references(self) -> Sequence[Variable]:
        """The entries that take their value from elsewhere (`valueFrom`)."""
        if self._by_name is None:
            return list(compress(enumerate(self._env), map(_source_of, self._env)))
        return [item for item in dict_items(self._env) if item[1].get("valueFrom")]

    @cached_property
    def _places(self) -> Mapping[str, int]:
        return dict(zip(self._ordered, range(len(self._ordered)), strict=True))

    @cached_property
    def _text(self) -> str:
        return " ".join(self.names)


def _grouped(env: Sequence[Any]) -> dict[str, list[Variable]]:
    entries: dict[str, list[Variable]] = {}
    for index, entry in dict_items(env):
        entries.setdefault(as_str(entry.get("name")), []).append((index, entry))
    return entries
