"""The options and settings of commands that talk to a cluster with the caller's permissions."""

from pathlib import Path
from typing import Annotated

import typer

from webhook.settings import Settings, from_environment

KubeconfigOption = Annotated[
    Path | None, typer.Option(help="Kubeconfig file. Default: $KUBECONFIG, as for kubectl.")
]
ContextOption = Annotated[str, typer.Option(help="Context of the kubeconfig.")]


def caller_settings(kubeconfig: Path | None) -> Settings:
    """The settings, with the kubeconfig that the caller named; from now on only errors are logged.

    Raises SetupError.
    """
    # `connect` logs nothing, and starts faster without it.
    from webhook.server.observer import set_up_logging

    settings = from_environment()
    set_up_logging("error")
    return settings.model_copy(update={"kubeconfig": kubeconfig}) if kubeconfig else settings
