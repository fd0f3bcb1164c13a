"""What a container can run: its command, arguments, hooks and probes, with variables expanded."""

from collections.abc import Iterator, Sequence

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.ray.pod import Container
from policies.ray.ray_start import REFERENCE

# No real value needs more. Without bounds, a few variables that name each other could grow without
# end.
_MAX_ROUNDS = 4
_MAX_REFERENCES = 20
_MAX_LITERAL = 1000
_MAX_TEXT = 10_000


def commands(container: Container) -> Iterator[tuple[Pointer, list[str]]]:
    """Each list of words the container can run, with its place in the object."""
    for place, words in container.commands.items():
        yield Pointer((*container.pointer, *place)), words


def words_of(container: Container) -> list[str]:
    """Every word the container can run."""
    return [word for words in container.commands.values() for word in words]


def expanded(words: list[str], container: Container) -> Iterator[str]:
    """The words, one a line, then every literal that Kubernetes substitutes for `$(NAME)` in them.

    References inside the literals are followed as well, each variable once.
    """
    waiting, seen = ["\n".join(words)], set[str]()
    while waiting:
        text = waiting.pop()
        yield text
        for name in REFERENCE.findall(text) if "$(" in text else ():
            if name in seen:
                continue
            seen.add(name)
            entries = container.variables.of(name)
            waiting += [as_str(entry.get("value")) for _, entry in entries]


def substituted(text: str, containers: Sequence[Container]) -> str:
    """The text with the literals of these containers in place of `$(NAME)`.

    A reference to a variable without a literal stays, as does the rest of a text with too many.
    """
    for _ in range(_MAX_ROUNDS):
        if "$(" not in text:
            break
        longer = REFERENCE.sub(
            lambda match: literal_of(match[1], containers) or match[0], text, _MAX_REFERENCES
        )
        if longer == text or len(longer) > _MAX_TEXT:
            break
        text = longer
    return text


def literal_of(name: str, containers: Sequence[Container]) -> str:
    """The first literal of the variable in these containers, cut if it is long; else empty."""
    for container in containers:
        for _, entry in container.variables.of(name):
            value = as_str(entry.get("value"))
            if value:
                return value[:_MAX_LITERAL]
    return ""
