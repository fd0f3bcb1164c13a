"""`raywarden unregister`: takes RayWarden's webhooks away before it is uninstalled."""

from typing import Annotated

import typer
import uvloop

from webhook import wiring
from webhook.commands.cluster_options import KubeconfigOption, caller_settings
from webhook.kube.request import Resource
from webhook.ports import UnavailableError
from webhook.settings import Settings, SetupError

_WARNING = "RayWarden will neither protect nor refuse Ray objects. Delete its webhooks?"


def unregister_command(
    kubeconfig: KubeconfigOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Delete RayWarden's two webhook configurations, so that the API server stops calling it.

    This is the first step of an uninstallation: without RayWarden, the API server would refuse
    every Ray object. The Helm chart runs it by itself.
    """
    settings = caller_settings(kubeconfig)
    if not settings.webhook_configuration:
        # With this setting the server leaves the configurations alone; they have the usual name.
        settings = settings.model_copy(update={"webhook_configuration": "raywarden"})
    if not yes:
        typer.confirm(_WARNING, abort=True)
    deleted = uvloop.run(_delete(settings))
    for resource in deleted:
        print(f"{resource} {settings.webhook_configuration} deleted")
    if not deleted:
        print("there are no webhook configurations to delete")


async def _delete(settings: Settings) -> list[Resource]:
    async with wiring.registration(settings) as configurations:
        try:
            return list(await configurations.delete())
        except UnavailableError as error:
            raise SetupError(str(error)) from None
