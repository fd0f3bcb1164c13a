"""What a container may run: its command, arguments and lifecycle hooks, with what Kubernetes puts into them."""

import re
from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str, str_items
from policies.ray.pod import Container

_REFERENCE = re.compile(r"\$\(([^()\s]+)\)")
_PLACES = (
    ("command",),
    ("args",),
    ("lifecycle", "postStart", "exec", "command"),
    ("lifecycle", "preStop", "exec", "command"),
    ("livenessProbe", "exec", "command"),
    ("readinessProbe", "exec", "command"),
    ("startupProbe", "exec", "command"),
)


def commands(container: Container) -> Iterator[tuple[Pointer, list[str]]]:
    """Every list of words a container may run, and where it stands."""
    for place in _PLACES:
        # Most containers have none of these, and this is asked of every one by several rules.
        if place[0] in container.raw and (
            words := [word for _, word in str_items(Pointer(place).read(container.raw))]
        ):
            yield Pointer((*container.pointer, *place)), words


def expanded(words: list[str], container: Container) -> Iterator[str]:
    """The words of a command, and the literals Kubernetes puts into them for `$(NAME)`, however deep."""
    waiting, seen = list(words), set[str]()
    while waiting:
        word = waiting.pop()
        yield word
        for name in _REFERENCE.findall(word):
            if name not in seen:
                seen.add(name)
                waiting += [
                    as_str(entry.get("value")) for _, entry in container.variables.get(name, ())
                ]
