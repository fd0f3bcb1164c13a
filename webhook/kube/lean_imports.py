"""Imports libraries without what they prepare for other programs.

That would take a good part of the time in which a server starts.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec, module_from_spec


@contextmanager
def no_collections() -> Iterator[None]:
    """For imports: a garbage collection would free nothing, because what is imported stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


def skip_init(package: str) -> None:
    """Let the modules of a package be imported without the package's own imports.

    Does nothing if it is imported already.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec:
        sys.modules[package] = module_from_spec(spec)
