"""`raywarden review`: the rules and mutations of admission on manifests, without a cluster."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml

from policies.config import Policy
from policies.kuberay.schema import Schemas
from policies.ray.operator import KubeRayOperator
from webhook import wiring
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import BadReviewError
from webhook.commands.output import OutputFormat
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.manifests.other_policies import notes_on_other_policies
from webhook.manifests.read import Manifest, SkippedFile, UnreadableManifest, read
from webhook.manifests.report import as_json, as_text
from webhook.manifests.state import ManifestNamespaces
from webhook.policy.file import load_policy
from webhook.settings import SetupError, from_environment

_ALLOWED, _DENIED, _UNREADABLE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class _Review:
    """The manifests and the outcome of each; None if it has nothing to do with Ray."""

    manifests: Sequence[Manifest]
    outcomes: Sequence[ReviewedManifest | UnreadableManifest | None]
    unreadable_sources: Sequence[UnreadableManifest]
    skipped_files: int = 0

    @property
    def reviewed(self) -> list[ReviewedManifest]:
        return [outcome for outcome in self.outcomes if isinstance(outcome, ReviewedManifest)]

    @property
    def unreadable(self) -> list[UnreadableManifest]:
        broken = [outcome for outcome in self.outcomes if isinstance(outcome, UnreadableManifest)]
        return [*self.unreadable_sources, *broken]

    @property
    def skipped(self) -> int:
        return self.skipped_files + self.outcomes.count(None)

    def exit_code(self, strict: bool) -> int:
        if self.unreadable:
            return _UNREADABLE
        for manifest in self.reviewed:
            if not manifest.allowed or (strict and manifest.warned):
                return _DENIED
        return _ALLOWED


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
        OutputFormat, typer.Option("--output", "-o", help="Format of the report.")
    ] = OutputFormat.TEXT,
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
        typer.Option(help="Folder of KubeRay's CustomResourceDefinitions, for its fields."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 1 also for warnings.")
    ] = False,
) -> None:
    """Review manifests as admission would, without a cluster.

    Exit codes: 0 if all are allowed, 1 if one is denied, 2 if something could not be read.
    """
    if include_derived and not patch:
        raise SetupError("--include-derived needs --patch")
    in_force = load_policy(policy)
    operator, schemas = _operator(kuberay, kuberay_feature_gates), load_schemas(crds)
    review = _review(sources, in_force, namespace, operator, schemas)
    documents = (manifest.document for manifest in review.manifests)
    notes = [*wiring.policy_notes(in_force), *notes_on_other_policies(documents)]
    if patch:
        _print_patched(review, include_derived)
    if output is OutputFormat.TEXT:
        # With --patch, stdout holds only manifests, ready for `kubectl apply -f -`.
        _print_text(review, notes, to_stderr=patch)
    elif not patch:
        _print_json(review, notes)
    raise typer.Exit(review.exit_code(strict))


def _operator(version: str, gates: str) -> KubeRayOperator:
    """What is known of KubeRay. Raises SetupError."""
    operator = KubeRayOperator.of_release(version, gates)
    if version and operator is None:
        raise SetupError(f"--kuberay {version!r} is not a version: write 1.6 or 1.6.0")
    if gates and operator is None:
        raise SetupError("--kuberay-feature-gates needs --kuberay")
    return operator or KubeRayOperator()


def _review(
    sources: Sequence[str],
    policy: Policy,
    namespace: str,
    kuberay: KubeRayOperator,
    schemas: Schemas,
) -> _Review:
    manifests: list[Manifest] = []
    unreadable: list[UnreadableManifest] = []
    skipped_files = 0
    for source in sources:
        for result in read(source):
            match result:
                case Manifest():
                    manifests.append(result)
                case UnreadableManifest():
                    unreadable.append(result)
                case SkippedFile():
                    skipped_files += 1
    documents = (manifest.document for manifest in manifests)
    namespace_states = ManifestNamespaces(documents, namespace, operator=kuberay)
    reviewer = wiring.offline_reviewer(from_environment(), policy, namespace_states)
    outcomes = [_outcome(reviewer, manifest, namespace, schemas) for manifest in manifests]
    return _Review(manifests, outcomes, unreadable, skipped_files)


def _outcome(
    reviewer: Reviewer, manifest: Manifest, namespace: str, schemas: Schemas
) -> ReviewedManifest | UnreadableManifest | None:
    try:
        return review_manifest(reviewer, manifest, namespace, schemas)
    except BadReviewError as error:
        return UnreadableManifest(str(manifest), str(error))


def _print_json(review: _Review, notes: Sequence[str]) -> None:
    report = as_json(review.reviewed, review.unreadable, review.skipped, notes)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode())


def _print_text(review: _Review, notes: Sequence[str], *, to_stderr: bool) -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    for line in as_text(review.reviewed, review.unreadable, review.skipped):
        print(line, file=sys.stderr if to_stderr else sys.stdout)


def _print_patched(review: _Review, include_derived: bool) -> None:
    """Print every manifest; those that have nothing to do with Ray are printed unchanged.

    The output replaces the input of `kubectl apply`, so no manifest may be missing.
    """
    for manifest, outcome in zip(review.manifests, review.outcomes, strict=True):
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
