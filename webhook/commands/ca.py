"""`raywarden ca`: shows how the seed is used, rotates it, and publishes the caBundle.

Every command uses the caller's permissions.
"""

from collections.abc import Awaitable, Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import orjson
import typer
import uvloop
from rich.console import Console

from certs.spiffe import spiffe_bundle
from webhook import wiring
from webhook.ca import report
from webhook.ca.inventory import Inventory
from webhook.ca.rotation import LEAD, Rotation
from webhook.commands.cluster_options import KubeconfigOption, caller_settings
from webhook.settings import SetupError

T = TypeVar("T")


class InventoryFormat(StrEnum):
    """The format of a report: text for people, JSON for programs."""

    TEXT = "text"
    JSON = "json"


class BundleFormat(StrEnum):
    """The form of CA certificates."""

    PEM = "pem"
    SPIFFE = "spiffe"


app = typer.Typer(
    name="ca",
    help="Show the seed and its CAs in a cluster, and rotate them.",
    no_args_is_help=True,
)

Generation = Annotated[
    str, typer.Argument(help="Name of a generation, for example 20261120T080000Z.")
]


@app.command("list")
def list_(
    kubeconfig: KubeconfigOption = None,
    output: Annotated[
        InventoryFormat, typer.Option("--output", "-o", help="Format of the report.")
    ] = InventoryFormat.TEXT,
) -> None:
    """Show generations, the clusters that use them, pods to restart, and expiry dates."""
    inventory = _run(kubeconfig, Rotation.inventory)
    if output is InventoryFormat.JSON:
        print(orjson.dumps(report.as_json(inventory), option=orjson.OPT_INDENT_2).decode())
    else:
        _print(inventory)


@app.command()
def rotate(kubeconfig: KubeconfigOption = None) -> None:
    """Add a generation for new clusters. Running clusters do not change."""
    generation = _run(kubeconfig, Rotation.rotate)
    minutes = int(LEAD.total_seconds() // 60)
    print(f"added {generation.name}: clusters created after {minutes} minutes use it")
    print(f"to move older clusters: after {minutes} minutes restart their pods, revoke the older")
    print("generation, restart the pods again, and delete the generation with revoke --forget")


@app.command()
def revoke(
    generation: Generation,
    kubeconfig: KubeconfigOption = None,
    forget: Annotated[
        bool, typer.Option(help="Delete it, so that pods that start later do not trust it.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
) -> None:
    """Stop signing with a generation. New pods trust it until it is deleted with --forget."""
    inventory = _run(kubeconfig, Rotation.inventory)
    warning = "\n".join(_cut_off_pods(inventory, generation, forget))
    if warning and not yes:
        typer.confirm(f"{warning}\nContinue?", abort=True)
    change = Rotation.forget if forget else Rotation.retire
    _print(_run(kubeconfig, lambda rotation: change(rotation, generation)))


@app.command()
def publish(kubeconfig: KubeconfigOption = None) -> None:
    """Write the caBundle into the webhook configurations, if the server may not do so."""
    changed = _run(kubeconfig, Rotation.publish)
    print("caBundle updated" if changed else "caBundle is up to date")


@app.command()
def show(
    cluster: Annotated[
        str, typer.Argument(metavar="NAMESPACE/NAME", help="A RayCluster, or Ray without KubeRay.")
    ],
    kubeconfig: KubeconfigOption = None,
    bundle_format: Annotated[
        BundleFormat, typer.Option("--format", "-f", help="PEM, or a SPIFFE bundle (JSON).")
    ] = BundleFormat.PEM,
) -> None:
    """Print the CAs of a cluster: its pods trust them, and its clients need them."""
    namespace, slash, name = cluster.partition("/")
    if not (namespace and slash and name):
        raise SetupError(f"{cluster} is not NAMESPACE/NAME")
    identity, trust = _run(kubeconfig, lambda rotation: rotation.trust(namespace, name))
    if bundle_format is BundleFormat.SPIFFE:
        print(orjson.dumps(spiffe_bundle(trust.bundle), option=orjson.OPT_INDENT_2).decode())
    else:
        print(report.bundle(identity, trust), end="")


def _cut_off_pods(inventory: Inventory, generation: str, forget: bool) -> Iterator[str]:
    """A line for each cluster with pods that could not connect to pods that start afterwards."""
    for entry in inventory.clusters:
        if forget:
            pods = entry.signed_by(generation)
        else:
            # Retiring a generation affects only the clusters that it signs for now.
            pods = entry.missing_new_ca if entry.generation.name == generation else 0
        if pods:
            total = len(entry.pods)
            yield (
                f"{entry.title}: {pods} of {total} pods will not be able to connect to pods that "
                "start later"
            )


def _run(kubeconfig: Path | None, action: Callable[[Rotation], Awaitable[T]]) -> T:
    settings = caller_settings(kubeconfig)

    async def main() -> T:
        async with wiring.rotation(settings) as rotation:
            return await action(rotation)

    return uvloop.run(main())


def _print(inventory: Inventory) -> None:
    Console(soft_wrap=True, highlight=False).print(report.as_text(inventory))
