"""A progress bar on long work, on terminals only."""

import sys
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from threading import Timer
from typing import TYPE_CHECKING, TypeVar

from webhook.review.progress import OnProgress, Track, uncounted, untracked

if TYPE_CHECKING:
    from rich.progress import Progress

# Work that ends sooner shows nothing.
_DELAY_SECONDS = 1.0
_Item = TypeVar("_Item")


@contextmanager
def progress_bar() -> Iterator[Track]:
    """Shows what runs through the yielded function on standard error, and removes it at the end."""
    with _display() as progress:
        yield _Tracker(progress) if progress else untracked


@contextmanager
def progress_counter() -> Iterator[OnProgress]:
    """Shows what the yielded function is told on standard error, and removes it at the end."""
    with _display() as progress:
        yield _Counter(progress) if progress else uncounted


@contextmanager
def _display() -> Iterator["Progress | None"]:
    """A bar that appears after a while; None if standard error is not a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    # Slow to import, and pipes do not need it.
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    timer = Timer(_DELAY_SECONDS, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield progress
    finally:
        timer.cancel()
        # It may be starting the display just now.
        timer.join()
        progress.stop()


class _Tracker:
    def __init__(self, progress: "Progress") -> None:
        self._progress = progress

    def __call__(self, items: Iterable[_Item], doing: str) -> Iterator[_Item]:
        """The items, counted while they are taken; `doing` says what happens to them."""
        total = len(items) if isinstance(items, Sized) else None
        task = self._progress.add_task(doing, total=total)
        try:
            for item in items:
                yield item
                self._progress.advance(task)
        finally:
            self._progress.remove_task(task)


class _Counter:
    def __init__(self, progress: "Progress") -> None:
        self._progress = progress
        self._task = progress.add_task("connecting", total=None)

    def __call__(self, name: str, done: int, total: int) -> None:
        self._progress.update(self._task, description=name, completed=done, total=total or None)
