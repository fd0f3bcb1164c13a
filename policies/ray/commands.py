"""What a container can run: its command, arguments, hooks and probes, with variables expanded."""

import re
from collections.abc import Iterator

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.ray.pod import Container

_REFERENCE = re.compile(r"\$\(([^()\s]+)\)")


def commands(container: Container) -> Iterator[tuple[Pointer, list[str]]]:
    """Each list of words the container can run, with its place in the object."""
    for place, words in container.commands.items():
        yield Pointer((*container.pointer, *place)), words


def expanded(words: list[str], container: Container) -> Iterator[str]:
    """The words, and every literal that Kubernetes substitutes for `$(NAME)` in them.

    References inside the literals are followed as well, each variable once.
    """
    waiting, seen = list(words), set[str]()
    while waiting:
        word = waiting.pop()
        yield word
        for name in _REFERENCE.findall(word):
            if name in seen:
                continue
            seen.add(name)
            entries = container.variables.get(name, ())
            waiting += [as_str(entry.get("value")) for _, entry in entries]
