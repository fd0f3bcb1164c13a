"""Imports libraries without what they prepare for other programs.

That would take most of the time in which a server starts.
"""

import gc
import ssl
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec, module_from_spec
from typing import Any

from pydantic import BaseModel, ConfigDict

# TLS contexts that have no CA yet.
_without_cas: list[ssl.SSLContext] = []


@contextmanager
def lean_imports() -> Iterator[None]:
    """For the imports of the server.

    No OpenAPI document is served, so FastAPI's models of one need not be built: every model is
    built when it is first used. The log is JSON, so `structlog` needs no `rich`. A collection would
    free nothing: what is imported stays.
    """
    with ExitStack() as stack:
        for change in (_no_collections, _system_cas_later, _no_rich, _models_built_later):
            stack.enter_context(change())
        yield


def load_system_cas() -> None:
    """Let the libraries of `lean_imports` trust the CAs of the system, as they usually do."""
    while _without_cas:
        _without_cas.pop().set_default_verify_paths()


def skip_init(package: str) -> None:
    """Let the modules of a package be imported without the package's own imports.

    Does nothing if it is imported already.
    """
    spec = None if package in sys.modules else find_spec(package)
    if spec:
        sys.modules[package] = module_from_spec(spec)


@contextmanager
def _no_collections() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


@contextmanager
def _system_cas_later() -> Iterator[None]:
    """Let TLS contexts trust nobody until `load_system_cas`: reading all CAs takes 30 ms each.

    When it is imported, `aiohttp` makes two contexts for requests that bring none. RayWarden's own
    requests bring one.
    """

    def remember(context: ssl.SSLContext) -> None:
        _without_cas.append(context)

    context_class: Any = ssl.SSLContext
    context_class.set_default_verify_paths = remember
    try:
        yield
    finally:
        # The method itself is inherited.
        del context_class.set_default_verify_paths


@contextmanager
def _no_rich() -> Iterator[None]:
    """Let `rich` look as if it were not installed, unless it is imported already."""
    modules: dict[str, Any] = sys.modules
    is_imported = "rich" in modules
    if not is_imported:
        # Importing it then raises ImportError.
        modules["rich"] = None
    try:
        yield
    finally:
        if not is_imported:
            del modules["rich"]


@contextmanager
def _models_built_later() -> Iterator[None]:
    """Let new models inherit `defer_build`, and ignore that FastAPI builds them nevertheless."""
    base: Any = BaseModel
    before = BaseModel.model_config, vars(BaseModel)["model_rebuild"]

    def when_used(model: type[Any], /, **options: Any) -> bool | None:
        # Pydantic itself states options when a model is used.
        built: bool | None = before[1].__func__(model, **options) if options else None
        return built

    base.model_config, base.model_rebuild = ConfigDict(defer_build=True), classmethod(when_used)
    try:
        yield
    finally:
        base.model_config, base.model_rebuild = before
