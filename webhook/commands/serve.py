"""`raywarden serve`: the HTTPS server."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from webhook import wiring
from webhook.server.listener import run
from webhook.server.observer import set_up_logging
from webhook.server.server import Server
from webhook.settings import SetupError, from_environment


def serve_command(
    dev: Annotated[
        bool, typer.Option("--dev", help="No cluster: seed in memory, certificate for localhost.")
    ] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="Keep the CA that clients must trust in this file.")
    ] = None,
    token_dir: Annotated[
        Path | None,
        typer.Option(help="With --dev: write a token for each pod to FOLDER/NAMESPACE/POD/token."),
    ] = None,
) -> None:
    """Answer AdmissionReviews and sign certificates until SIGTERM. Settings are RAYWARDEN_... environment variables."""
    settings = from_environment(strict=True)
    set_up_logging(settings.log_level)
    if token_dir and not dev:
        raise SetupError("--token-dir goes with --dev: in a cluster the kubelet hands out tokens")
    on_ca_change = partial(_write, ca_file)
    run(
        _serve(
            wiring.dev_server(settings, token_dir, on_ca_change)
            if dev
            else wiring.server(settings, on_ca_change)
        )
    )


async def _serve(server: Awaitable[Server]) -> None:
    await (await server).run(asyncio.Event())


def _write(file: Path | None, content: bytes) -> None:
    try:
        if file:
            file.write_bytes(content)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
