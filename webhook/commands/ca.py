"""`raywarden ca`: what the seed is used for, its rotation, the caBundle that follows; with the rights of the caller."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
import uvloop
from rich.console import Console

from webhook import wiring
from webhook.ca import report
from webhook.ca.inventory import Inventory
from webhook.ca.rotation import LEAD, Rotation
from webhook.commands.output import OutputFormat
from webhook.server.observer import set_up_logging
from webhook.settings import SetupError, from_environment

T = TypeVar("T")

app = typer.Typer(
    name="ca",
    help="Look at the seed and its CAs in a cluster, and rotate it.",
    no_args_is_help=True,
)

Kubeconfig = Annotated[
    Path | None, typer.Option(help="Kubeconfig; without it $KUBECONFIG, as for kubectl.")
]
Generation = Annotated[str, typer.Argument(help="Name of a generation, as 20261120T080000Z.")]


@app.command("list")
def list_(
    kubeconfig: Kubeconfig = None,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="How to report.")
    ] = OutputFormat.TEXT,
) -> None:
    """Show the generations, which clusters use which, what has to restart, and what ends when."""
    inventory = _run(kubeconfig, Rotation.inventory)
    if output is OutputFormat.JSON:
        print(orjson.dumps(report.as_json(inventory), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(inventory)


@app.command()
def rotate(kubeconfig: Kubeconfig = None) -> None:
    """Add a generation for new clusters. Nothing changes for those that run."""
    generation = _run(kubeconfig, Rotation.rotate)
    minutes = int(LEAD.total_seconds() // 60)
    print(f"added {generation.name}: clusters created in {minutes} minutes and later will use it")
    print(
        f"to move older ones, in {minutes} minutes: restart their pods, revoke the older generation,"
    )
    print("restart them again, and forget it")


@app.command()
def revoke(
    generation: Generation,
    kubeconfig: Kubeconfig = None,
    forget: Annotated[
        bool, typer.Option(help="Delete it, so that nobody who starts from now on trusts it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Have a generation sign no more. Pods that start still trust it, until it is forgotten."""
    cut_off = "\n".join(_cut_off(_run(kubeconfig, Rotation.inventory), generation, forget))
    if cut_off and not yes:
        typer.confirm(f"{cut_off}\nGo on?", abort=True)
    change: Callable[[Rotation], Awaitable[Inventory]] = (
        (lambda rotation: rotation.forget(generation))
        if forget
        else (lambda rotation: rotation.retire(generation))
    )
    _print(_run(kubeconfig, change))


@app.command()
def publish(kubeconfig: Kubeconfig = None) -> None:
    """Write the CA of our own ports into the webhook configurations, where the server has no right to."""
    written = _run(kubeconfig, Rotation.publish)
    print("the caBundle is written" if written else "the caBundle is as it should be")


@app.command()
def show(
    cluster: Annotated[
        str, typer.Argument(metavar="NAMESPACE/NAME", help="A RayCluster, or Ray without KubeRay.")
    ],
    kubeconfig: Kubeconfig = None,
) -> None:
    """Print a cluster's CAs in PEM form: what its pods trust, and what its clients have to."""
    namespace, slash, name = cluster.partition("/")
    if not (namespace and slash and name):
        raise SetupError(f"{cluster} is not NAMESPACE/NAME")
    print(
        report.bundle(*_run(kubeconfig, lambda rotation: rotation.trust(namespace, name))), end=""
    )


def _cut_off(inventory: Inventory, name: str, forget: bool) -> Iterator[str]:
    """Which pods will not be able to talk to those that start afterwards."""
    for entry in inventory.clusters:
        pods = entry.signed_by(name)
        if not forget:
            pods = entry.missing_new_ca if entry.generation.name == name else 0
        if pods:
            yield f"{entry.title}: {pods} of {len(entry.pods)} pods will be cut off from pods that start later"


def _run(kubeconfig: Path | None, action: Callable[[Rotation], Awaitable[T]]) -> T:
    settings = from_environment()
    set_up_logging("error")
    if kubeconfig:
        settings = settings.model_copy(update={"kubeconfig": kubeconfig})

    async def main() -> T:
        async with wiring.rotation(settings) as rotation:
            return await action(rotation)

    return uvloop.run(main())


def _print(inventory: Inventory) -> None:
    Console(soft_wrap=True, highlight=False).print(report.as_text(inventory))
