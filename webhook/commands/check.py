"""`raywarden check`: whether the installation works and whether TLS is on."""

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
from webhook.commands.cluster_options import KubeconfigOption, caller_settings
from webhook.commands.outputs import output_option, outputs_of, write
from webhook.ports import UnavailableError
from webhook.settings import Settings, SetupError

_HEALTHY, _FAILED, _NOT_CHECKED = 0, 1, 2


def check_command(
    kubeconfig: KubeconfigOption = None,
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
    output: Annotated[list[str] | None, output_option(CheckFormat)] = None,
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
    settings = caller_settings(kubeconfig)
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
