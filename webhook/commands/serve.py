"""`raywarden serve`: the HTTPS server."""

from pathlib import Path
from typing import Annotated

import typer

from webhook.commands.server_process import serve


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
    serve(dev=dev, ca_file=ca_file, token_dir=token_dir)
