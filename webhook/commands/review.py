"""`raywarden review`: the rules and mutations of admission on manifests, without a cluster."""

import sys
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from policies.model import Severity
from policies.ray.operator import KubeRayOperator
from webhook import offline
from webhook.commands.outputs import outputs_of, write
from webhook.manifests.dry_run import ReviewedManifest
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.policy.file import load_policy
from webhook.reports.formats import ReportFormat, render
from webhook.review.finding import Level
from webhook.review.run import ReviewRun, review_sources
from webhook.settings import SetupError, from_environment

_PASSED, _FAILED, _UNREADABLE = 0, 1, 2


class FailOn(StrEnum):
    """The level of findings from which on the exit code is 1."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"
    NEVER = "never"

    @property
    def level(self) -> Level | None:
        return None if self is FailOn.NEVER else Level(self.value)


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
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FORMAT[=FILE]",
            help=f"Format of the report ({', '.join(ReportFormat)}), and a file for it. "
            "May be given several times.",
        ),
    ] = None,
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
    fail_on: Annotated[
        FailOn, typer.Option(help="Exit with 1 for findings of this level and worse ones.")
    ] = FailOn.ERROR,
    min_severity: Annotated[
        Severity, typer.Option(help="Leave out findings of a lower severity.")
    ] = Severity.LOW,
) -> None:
    """Review manifests as admission would, without a cluster.

    Exit codes: 0 if all are allowed, 1 if one is denied, 2 if something could not be read.
    """
    if include_derived and not patch:
        raise SetupError("--include-derived needs --patch")
    outputs = outputs_of(output or [], ReportFormat)
    in_force = load_policy(policy)
    run = review_sources(
        sources,
        partial(offline.offline_reviewer, from_environment(), in_force),
        namespace,
        _operator(kuberay, kuberay_feature_gates),
        offline.policy_notes(in_force),
        load_schemas(crds),
    )
    results = run.results.at_least(min_severity)
    if patch:
        _print_patched(run, include_derived)
    write(outputs, lambda format: render(format, results), stdout_is_taken=patch)
    if results.unreadable:
        raise typer.Exit(_UNREADABLE)
    raise typer.Exit(_FAILED if results.fails_at(fail_on.level) else _PASSED)


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
    print(f"---\n# {title}")
    yaml.dump(document, sys.stdout, _PlainDumper, sort_keys=False, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: a value that two containers share is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
