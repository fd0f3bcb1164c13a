"""`raywarden check`: is the installation sound, is TLS really on; with the rights of whoever calls it."""

from pathlib import Path
from typing import Annotated

import orjson
import typer
import uvloop
from rich.console import Console

from webhook import wiring
from webhook.check import report
from webhook.check.findings import Section, Status, count
from webhook.check.probe import Target
from webhook.commands.output import OutputFormat
from webhook.ports import UnavailableError
from webhook.server.observer import set_up_logging
from webhook.settings import Settings, SetupError, from_environment

_SOUND, _NOT_SOUND, _NOT_ASKED = 0, 1, 2


def check_command(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig; without it $KUBECONFIG, as for kubectl.")
    ] = None,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Where to try admission (dry run); else where Ray is, or default.",
        ),
    ] = "",
    probe: Annotated[
        str,
        typer.Option(
            metavar="NAMESPACE/CLUSTER",
            help="Dial a running cluster's pods: is TLS on, who is let in?",
        ),
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            help="With --probe: dial the head here, such as 127.0.0.1 under kubectl port-forward."
        ),
    ] = "",
    all_pods: Annotated[
        bool, typer.Option("--all-pods", help="With --probe: more than 32 workers.")
    ] = False,
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="How to report.")
    ] = OutputFormat.TEXT,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 for warnings and unknowns, too.")
    ] = False,
) -> None:
    """Say whether the installation is sound and TLS really on.

    Changes nothing. Exit code 0: sound, 1: something failed, 2: nothing could be asked (with --probe: dialled).
    """
    if not probe and (address or all_pods):
        raise SetupError("--address and --all-pods go with --probe")
    target = Target.of(probe, address, all_pods) if probe else None
    settings = from_environment()
    set_up_logging("error")
    if kubeconfig:
        settings = settings.model_copy(update={"kubeconfig": kubeconfig})
    sections = uvloop.run(_look(settings, namespace, target))
    if output is OutputFormat.JSON:
        print(orjson.dumps(report.as_json(sections), option=orjson.OPT_INDENT_2).decode())
    else:
        Console(soft_wrap=True, highlight=False, markup=False).print(report.as_text(sections))
    raise typer.Exit(_code(sections, strict, probed=target is not None))


async def _look(settings: Settings, namespace: str, target: Target | None) -> list[Section]:
    async with wiring.inspection(settings) as inspection:
        try:
            facts = await inspection.facts(namespace)
        except UnavailableError as error:
            raise SetupError(str(error)) from None
    sections = report.judge(facts)
    if target:
        sections.append(await target.section(facts))
    return sections


def _code(sections: list[Section], strict: bool, probed: bool) -> int:
    if count(sections, Status.FAILED):
        return _NOT_SOUND
    # The proof that was asked for is none while nothing was reached.
    if probed and count(sections[-1:], Status.UNKNOWN) == len(sections[-1].findings):
        return _NOT_ASKED
    bad = count(sections, Status.WARNING) + count(sections, Status.UNKNOWN)
    return _NOT_SOUND if strict and bad else _SOUND
