"""`raywarden check`: whether the installation works and whether TLS is on."""

from pathlib import Path
from typing import Annotated

import typer
import uvloop

from webhook import wiring
from webhook.check import report
from webhook.check.dial import local_address
from webhook.check.facts import CheckFacts
from webhook.check.findings import Section, Status, count
from webhook.check.probe import Target
from webhook.check.report import CheckFormat
from webhook.commands.outputs import outputs_of, write
from webhook.ports import UnavailableError
from webhook.server.observer import set_up_logging
from webhook.settings import Settings, SetupError, from_environment

_HEALTHY, _FAILED, _NOT_CHECKED = 0, 1, 2


def check_command(
    kubeconfig: Annotated[
        Path | None, typer.Option(help="Kubeconfig file. Default: $KUBECONFIG, as for kubectl.")
    ] = None,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace",
            "-n",
            help="Namespace for the dry runs. Default: one that contains Ray, or default.",
        ),
    ] = "",
    probe: Annotated[
        str,
        typer.Option(
            metavar="NAMESPACE/CLUSTER",
            help="Dial the pods of a running cluster: is TLS on, which clients do they accept, "
            "and are NetworkPolicies enforced?",
        ),
    ] = "",
    address: Annotated[
        str,
        typer.Option(
            help="With --probe: dial only the head, at this address, such as 127.0.0.1 with "
            "kubectl port-forward."
        ),
    ] = "",
    all_pods: Annotated[
        bool, typer.Option("--all-pods", help="With --probe: dial more than 32 workers.")
    ] = False,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT[=FILE]",
            help=f"Format of the report ({', '.join(CheckFormat)}), and a file for it. "
            "May be given several times.",
        ),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also for warnings and unknowns.")
    ] = False,
) -> None:
    """Check that the installation works and that TLS is on. Changes nothing.

    Exit codes: 0 if nothing failed, 1 if a check failed, 2 if the API server (or with --probe: the
    cluster) could not be reached, or a report could not be written.
    """
    if not probe and (address or all_pods):
        raise SetupError("--address and --all-pods need --probe")
    outputs = outputs_of(output or [], CheckFormat)
    target = Target.of(probe, address, all_pods) if probe else None
    settings = from_environment()
    set_up_logging("error")
    if kubeconfig:
        settings = settings.model_copy(update={"kubeconfig": kubeconfig})
    facts, sections = uvloop.run(_check(settings, namespace, target))
    write(
        outputs,
        lambda format: report.pieces(format, sections, facts),
        lines=lambda format: report.as_text(sections) if format is CheckFormat.TEXT else None,
    )
    raise typer.Exit(_exit_code(sections, strict, probed=target is not None))


async def _check(
    settings: Settings, namespace: str, target: Target | None
) -> tuple[CheckFacts, list[Section]]:
    async with wiring.inspection(settings) as inspection:
        try:
            facts = await inspection.facts(namespace)
        except UnavailableError as error:
            raise SetupError(str(error)) from None
        address = local_address(target.head_address(facts)) if target else ""
        caller = await inspection.pod_at(address) if address else None
    sections = report.run_checks(facts)
    if target:
        sections.append(await target.section(facts, caller))
    return facts, sections


def _exit_code(sections: list[Section], strict: bool, probed: bool) -> int:
    if count(sections, Status.FAILED):
        return _FAILED
    # A probe that reached nothing proves nothing, so it must not look like a success.
    if probed and count(sections[-1:], Status.UNKNOWN) == len(sections[-1].findings):
        return _NOT_CHECKED
    doubts = count(sections, Status.WARNING) + count(sections, Status.UNKNOWN)
    return _FAILED if strict and doubts else _HEALTHY
