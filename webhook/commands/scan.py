"""`raywarden scan`: the rules of admission on the objects of a running cluster."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from policies.config import Policy
from policies.model import Severity
from webhook import offline, wiring
from webhook.commands import reporting
from webhook.commands.cluster_options import ContextOption, KubeconfigOption, caller_settings
from webhook.commands.outputs import outputs_of
from webhook.commands.progress import progress_counter
from webhook.commands.reporting import FailOn, FailOnOption, MinSeverityOption, OutputOption
from webhook.policy.file import load_policy
from webhook.ports import UnavailableError
from webhook.reports.formats import ReportFormat
from webhook.review.results import Results
from webhook.settings import Settings, SetupError


def scan_command(
    policy: Annotated[
        Path | None,
        typer.Option(help="Policy file. Default: that of the installed server, if it is readable."),
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Only this namespace. Default: all.")
    ] = "",
    output: OutputOption = None,
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Write the findings into the cluster as Report (openreports.io) or PolicyReport "
            "objects.",
        ),
    ] = False,
    fail_on: FailOnOption = FailOn.ERROR,
    min_severity: MinSeverityOption = Severity.LOW,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="As text: each object with all its findings.")
    ] = False,
) -> None:
    """Review the objects of a running cluster as they are stored, with your own rights.

    Changes nothing without --report. Exit codes: 0 if all are allowed, 1 if one would be denied,
    2 if something could not be read.
    """
    outputs = outputs_of(output or [], ReportFormat)
    settings = caller_settings(kubeconfig)
    in_force = load_policy(policy) if policy else None
    try:
        results = uvloop.run(_scan(settings, context, in_force, namespace, min_severity, report))
    except KeyboardInterrupt:
        print("raywarden: interrupted, nothing is reported", file=sys.stderr)
        raise typer.Exit(130) from None
    reporting.report(results, outputs, fail_on, verbose=verbose)


async def _scan(
    settings: Settings,
    context: str,
    policy: Policy | None,
    namespace: str,
    min_severity: Severity,
    report: bool,
) -> Results:
    try:
        async with wiring.cluster_scan(settings, context, policy) as scan:
            if report:
                await scan.find_report_kind()
            with progress_counter() as on_progress:
                results = await scan.results(namespace, on_progress)
            results = replace(results, rules_url=settings.rules_url).at_least(min_severity)
            if report and results.unreadable:
                # Reports of what could not be read now would be deleted.
                print("raywarden: no report is written: the scan is incomplete", file=sys.stderr)
            elif report:
                written = await scan.write_reports(results, namespace)
                print(f"raywarden: wrote {written}", file=sys.stderr)
    except UnavailableError as error:
        raise SetupError(str(error)) from None
    notes = offline.policy_notes(scan.policy)
    return replace(results, notes=[*notes, *results.notes])
