"""`raywarden network-policy`: prints NetworkPolicies for Ray clusters, and adopts clusters."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
import uvloop

from policies.network.infrastructure import Infrastructure
from webhook import wiring
from webhook.commands.cluster_options import KubeconfigOption, caller_settings
from webhook.commands.network_policy_adopt import adopt
from webhook.manifests.read import Manifest, UnreadableManifest, read
from webhook.network_policy.choices import ASSUMED_OPERATOR, USUAL_OPERATOR, Choices, ModeChoice
from webhook.network_policy.live import ClusterReader, explained
from webhook.network_policy.printer import Printer
from webhook.network_policy.targets import targets_in
from webhook.policy.file import load_policy
from webhook.ports import UnavailableError
from webhook.settings import Settings, SetupError

_LIVE = re.compile(r"([a-z0-9-]{1,63})/([a-z0-9.-]{1,253})")


def network_policy_command(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE|DIR|-|NAMESPACE/NAME",
            help="Manifests (- reads standard input), or a RayCluster, RayJob or RayService in the "
            "cluster of your kubeconfig.",
        ),
    ] = None,
    mode: Annotated[
        ModeChoice | None,
        typer.Option(
            help="members leaves Ray Serve and metrics open to all, deny-ingress closes them, and "
            "deny-all also closes what pods reach. Default: that of --policy, else deny-ingress.",
            show_default=False,
        ),
    ] = None,
    allow_from: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHO",
            help="Who else may connect: NAMESPACE, NAMESPACE/LABEL=VALUE or CIDR, and :PORT,PORT.",
        ),
    ] = None,
    monitoring: Annotated[
        list[str] | None,
        typer.Option(metavar="WHO", help="Who may read metrics, written as in --allow-from."),
    ] = None,
    egress: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WHAT",
            help="With deny-all, what pods may reach: dns, api-server, internet, or as in "
            "--allow-from.",
        ),
    ] = None,
    operator_namespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAMESPACE",
            help=f"Namespace of KubeRay's operator. Default: read from the cluster, else "
            f"{USUAL_OPERATOR}.",
        ),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Policy file whose networkIsolation is the default.")
    ] = None,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace", "-n", help="Namespace of manifests without one. Default: kubectl's."
        ),
    ] = "",
    kubeconfig: KubeconfigOption = None,
    adopted: Annotated[
        list[str] | None,
        typer.Option(
            "--adopt",
            metavar="NAMESPACE/NAME",
            help="Let RayWarden write policies for this existing RayCluster. * matches anything.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --adopt: only show what would happen.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --adopt: confirm a pattern such as 'team-a/*'.")
    ] = False,
) -> None:
    """Print NetworkPolicies that close Ray clusters, for kubectl apply -f -.

    They let in members, KubeRay's operator, the submitter of a RayJob, and those you name.

    Exit codes: 0 if something was printed or adopted, 1 if nothing was, 2 if something failed.
    """
    settings = caller_settings(kubeconfig)
    choices = Choices(
        mode=mode,
        allow_from=allow_from or (),
        monitoring=monitoring or (),
        egress=egress or (),
        operators=operator_namespace or (),
        policy_file=str(policy or ""),
        configured=load_policy(policy).network_isolation if policy else None,
    )
    if adopted:
        if sources or mode or allow_from or monitoring or egress:
            raise SetupError("--adopt takes only --policy, --dry-run, --yes and --kubeconfig")
        raise typer.Exit(uvloop.run(adopt(settings, adopted, choices, dry_run, yes)))
    if dry_run or yes:
        raise SetupError("--dry-run and --yes need --adopt")
    if not sources:
        raise SetupError("name a file of manifests, or NAMESPACE/NAME of a RayCluster")
    printer = Printer(choices, choices.command(sources, namespace))
    signer = (settings.namespace, urlsplit(settings.signer_url).port or 443)
    usual = Infrastructure(choices.operators or (USUAL_OPERATOR,), signer)
    manifests = [source for source in sources if not _is_live(source)]
    _print_manifests(printer, usual, manifests, namespace)
    live = [source for source in sources if _is_live(source)]
    if live:
        uvloop.run(_print_live(settings, printer, usual, live))
    raise typer.Exit(printer.exit_code)


def _is_live(source: str) -> bool:
    return bool(_LIVE.fullmatch(source)) and not Path(source).exists()


def _print_manifests(
    printer: Printer, infrastructure: Infrastructure, sources: Sequence[str], namespace: str
) -> None:
    documents = []
    for source in sources:
        for result in read(source):
            if isinstance(result, UnreadableManifest):
                printer.problem(f"{result.source}: {result.why}")
            elif isinstance(result, Manifest):
                documents.append(result.document)
    notes = () if printer.choices.operators else (ASSUMED_OPERATOR,)
    for target in targets_in(documents, namespace):
        printer.add(target, infrastructure, notes)


async def _print_live(
    settings: Settings, printer: Printer, usual: Infrastructure, sources: Sequence[str]
) -> None:
    async with wiring.inspection(settings) as inspection:
        for source in sources:
            try:
                await _print_cluster(inspection.live, printer, usual, source)
            except UnavailableError as error:
                printer.problem(f"{source}: {explained(error)}")


async def _print_cluster(
    live: ClusterReader, printer: Printer, usual: Infrastructure, source: str
) -> None:
    namespace, _, name = source.partition("/")
    targets = await live.targets(namespace, name)
    if not targets:
        printer.problem(
            f"{source}: there is no such file, and no RayCluster, RayJob or RayService {name} in "
            f"the namespace {namespace}"
        )
        return
    infrastructure, notes = await live.infrastructure(namespace, usual, printer.choices.operators)
    for target in targets:
        printer.add(target, infrastructure, notes)
