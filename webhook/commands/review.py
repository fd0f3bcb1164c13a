"""`raywarden review`: the rules and mutations of admission on manifests, without a cluster."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from policies.documents.untyped import one_line
from policies.model import Severity
from policies.ray.operator import KubeRayOperator
from webhook import offline
from webhook.commands.baselines import with_baseline
from webhook.commands.fix_option import FixMode
from webhook.commands.outputs import outputs_of
from webhook.commands.progress import progress_bar
from webhook.commands.reporting import (
    FailOn,
    FailOnOption,
    MinSeverityOption,
    OutputOption,
    report,
)
from webhook.manifests.dry_run import ReviewedManifest
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.manifests.read import Manifest
from webhook.manifests.yaml_dumpers import PlainDumper
from webhook.policy.file import load_policy
from webhook.reports.formats import ReportFormat
from webhook.review.run import ReadSources, ReviewBasis, ReviewRun, review_manifests
from webhook.review.suppressions import IgnoreComments
from webhook.settings import SetupError, from_environment

_Review = Callable[[Sequence[Manifest]], ReviewRun]


def _print_schema(chosen: bool) -> None:
    if chosen:
        # Only this option needs these models, and they take time to build.
        from webhook.reports import json_schema

        print(json_schema.text(), end="")
        raise typer.Exit()


def review_command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|DIR|-", help="Files and folders of manifests. - reads standard input."
        ),
    ],
    policy: Annotated[
        Path | None, typer.Option(help="Policy file. Default: the built-in policy.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of manifests without one.")
    ] = "default",
    output: OutputOption = None,
    patch: Annotated[
        bool,
        typer.Option(
            "--patch",
            help="Print the manifests as admission would store them. The report goes to stderr.",
        ),
    ] = False,
    include_derived: Annotated[
        bool,
        typer.Option(
            "--include-derived",
            help="With --patch: print also the objects that KubeRay creates from them.",
        ),
    ] = False,
    kuberay: Annotated[
        str, typer.Option(help="Version of the KubeRay that will run the manifests, such as 1.6.")
    ] = "",
    kuberay_feature_gates: Annotated[
        str, typer.Option(help="Value of that operator's option --feature-gates.")
    ] = "",
    crds: Annotated[
        Path | None,
        typer.Option(
            help="Folder of KubeRay's CustomResourceDefinitions. Default: the fields of --kuberay."
        ),
    ] = None,
    fail_on: FailOnOption = FailOn.ERROR,
    min_severity: MinSeverityOption = Severity.LOW,
    fix: Annotated[
        FixMode | None,
        typer.Option(
            "--fix",
            metavar="[=all]",
            help="Write remedies into the files, and report the rest. --fix=all also writes those "
            "that choose a value, such as resources.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="With --fix: print the difference and write nothing."),
    ] = False,
    baseline: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Findings in this file do not count.")
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the findings that count into this file. Dates in it stay."
        ),
    ] = None,
    _schema: Annotated[
        bool,
        typer.Option(
            "--schema",
            callback=_print_schema,
            is_eager=True,
            help="Print the JSON Schema of --output json, and exit.",
        ),
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="With text: list every finding, what admission would write, and JSON pointers.",
        ),
    ] = False,
) -> None:
    """Review manifests as admission would, without a cluster.

    Exit codes: 0 if all are allowed, 1 if one is denied, 2 if something could not be read or
    written.
    """
    _check_options(patch=patch, include_derived=include_derived, fix=fix, dry_run=dry_run)
    outputs = outputs_of(output or [], ReportFormat)
    in_force, settings = load_policy(policy), from_environment()
    basis = ReviewBasis(
        partial(offline.offline_reviewer, settings, in_force),
        namespace,
        _operator(kuberay, kuberay_feature_gates),
        offline.policy_notes(in_force),
        load_schemas(crds),
        IgnoreComments(in_force),
    )
    with progress_bar() as track:
        found = ReadSources.of(sources, track)

    def severe(manifests: Sequence[Manifest]) -> ReviewRun:
        run = review_manifests(replace(found, manifests=manifests), basis)
        return replace(run, results=run.results.at_least(min_severity))

    is_written = True
    if fix is not None:
        mended, is_written = _fix(severe(found.manifests), severe, fix, sources, dry_run=dry_run)
        found = replace(found, manifests=mended.manifests)
    with progress_bar() as track:
        run = review_manifests(found, basis, track)
    today = offline.now().date()
    results = replace(run.results, rules_url=settings.rules_url)
    results = with_baseline(results, baseline, write_baseline, today).at_least(min_severity)
    if patch:
        _print_patched(run, include_derived)
    stdout_is_taken = patch or dry_run or (fix is not None and "-" in sources)
    report(
        results,
        outputs,
        fail_on,
        verbose=verbose,
        stdout_is_taken=stdout_is_taken,
        is_complete=is_written,
    )


def _check_options(
    *, patch: bool, include_derived: bool, fix: FixMode | None, dry_run: bool
) -> None:
    """Raises SetupError for options that do not go together."""
    if include_derived and not patch:
        raise SetupError("--include-derived needs --patch")
    if dry_run and fix is None:
        raise SetupError("--dry-run needs --fix")
    if patch and fix is not None:
        raise SetupError("use either --fix or --patch")


def _fix(
    run: ReviewRun, review: _Review, mode: FixMode, sources: Sequence[str], *, dry_run: bool
) -> tuple[ReviewRun, bool]:
    """Fix the findings; the review of what the files then hold, and whether all were written."""
    # Most reviews fix nothing, and start faster without it.
    from webhook.commands import review_fix

    mending = review_fix.mend(run, review, mode, sources)
    failed: dict[str, str] = {}
    if dry_run:
        review_fix.print_diff(mending)
    else:
        failed = review_fix.write_files(mending, sources)
        if "-" in sources:
            review_fix.print_stream(run, mending)
        run = review_fix.written(mending, failed, review)
    for line in review_fix.summary(mending, failed, dry_run=dry_run):
        print(line, file=sys.stderr)
    return run, not failed


def _operator(version: str, gates: str) -> KubeRayOperator:
    """What is known of KubeRay. Raises SetupError."""
    operator = KubeRayOperator.of_release(version, gates)
    if version and operator is None:
        raise SetupError(f"--kuberay {version!r} is not a version: write 1.6 or 1.6.0")
    if gates and operator is None:
        raise SetupError("--kuberay-feature-gates needs --kuberay")
    return operator or KubeRayOperator()


def _print_patched(run: ReviewRun, include_derived: bool) -> None:
    """Print every manifest; those that have nothing to do with Ray are printed unchanged.

    The output replaces the input of `kubectl apply`, so no manifest may be missing.
    """
    for manifest, outcome in zip(run.manifests, run.outcomes, strict=True):
        if not isinstance(outcome, ReviewedManifest):
            _print_document(str(manifest), manifest.document)
            continue
        _print_document(str(manifest), outcome.outcome.document)
        if include_derived:
            for derived in outcome.derived:
                title = f"{derived.kind} that KubeRay creates from {manifest}"
                _print_document(title, derived.document)


def _print_document(title: str, document: dict[str, Any]) -> None:
    # A line break in the name of a file would begin another document.
    print(f"---\n# {one_line(title)}")
    yaml.dump(document, sys.stdout, PlainDumper, sort_keys=False, allow_unicode=True)
