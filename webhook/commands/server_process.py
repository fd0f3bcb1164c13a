"""The process of a server: its settings, its log, and how it ends."""

import asyncio
import gc
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from webhook.commands.setup_failure import setup_failures
from webhook.settings import SetupError, from_environment


@contextmanager
def _without_collections() -> Iterator[None]:
    """For imports: a garbage collection would free nothing, because what is imported stays."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()


with _without_collections():
    from webhook import wiring
    from webhook.server.listener import run
    from webhook.server.observer import set_up_logging
    from webhook.server.server import Server


def main() -> None:
    """Run `raywarden serve` without options, as in a pod, where no parser of options is needed."""
    with setup_failures():
        serve(dev=False, ca_file=None, token_dir=None)


def serve(*, dev: bool, ca_file: Path | None, token_dir: Path | None) -> None:
    """Run a server until SIGTERM; raises SetupError."""
    settings = from_environment(strict=True)
    set_up_logging(settings.log_level)
    if token_dir and not dev:
        raise SetupError("--token-dir needs --dev: in a cluster the kubelet writes the tokens")
    on_ca_change = partial(_write_ca, ca_file)
    if dev:
        run(_serve(wiring.dev_server(settings, token_dir, on_ca_change)))
    else:
        run(_serve(wiring.server(settings, on_ca_change)))


async def _serve(server: Awaitable[Server]) -> None:
    await (await server).run(asyncio.Event())


def _write_ca(file: Path | None, pem: bytes) -> None:
    if file is None:
        return
    try:
        file.write_bytes(pem)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
