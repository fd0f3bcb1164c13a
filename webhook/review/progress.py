"""How long work tells how far it is."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

_Item = TypeVar("_Item")

# Called with what is read, the number of it so far, and how many there are; 0 if that is unknown.
OnProgress = Callable[[str, int, int], None]


class Track(Protocol):
    """Passes items on and shows how many were taken."""

    def __call__(self, items: Iterable[_Item], doing: str) -> Iterator[_Item]:
        """The items; `doing` says what happens to them, as in "reviewing"."""
        ...


def untracked(items: Iterable[_Item], doing: str) -> Iterator[_Item]:
    """Shows nothing."""
    yield from items


def uncounted(name: str, done: int, total: int) -> None:
    """Shows nothing."""
