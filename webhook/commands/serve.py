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
        bool,
        typer.Option(
            "--dev", help="Run without a cluster: seed in memory, certificate for localhost."
        ),
    ] = False,
    ca_file: Annotated[
        Path | None, typer.Option(help="Write the CA that clients must trust to this file.")
    ] = None,
    token_dir: Annotated[
        Path | None,
        typer.Option(help="With --dev: write each pod's token to FOLDER/NAMESPACE/POD/token."),
    ] = None,
) -> None:
    """Answer AdmissionReviews and sign certificates until SIGTERM.

    Settings are RAYWARDEN_... environment variables.
    """
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
