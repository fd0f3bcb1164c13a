"""`raywarden review`: admission tests of manifests, offline."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
import yaml

from webhook import wiring
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import BadReviewError
from webhook.commands.output import OutputFormat
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.read import Manifest, UnreadableManifest, read
from webhook.manifests.report import as_json, as_text
from webhook.manifests.state import ManifestNamespaces
from webhook.policy.file import load_policy
from webhook.settings import SetupError, from_environment

_CLEAN, _DENIED, _UNREADABLE = 0, 1, 2


def review_command(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE|DIR|-", help="Manifests; - reads standard input.")
    ],
    policy: Annotated[
        Path | None, typer.Option(help="Policy file; the default policy without it.")
    ] = None,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="For manifests that name none.")
    ] = "default",
    output: Annotated[
        OutputFormat, typer.Option("--output", "-o", help="How to report.")
    ] = OutputFormat.TEXT,
    patch: Annotated[
        bool,
        typer.Option(
            "--patch", help="Print the manifests as admission would store them; report on stderr."
        ),
    ] = False,
    include_derived: Annotated[
        bool,
        typer.Option("--include-derived", help="With --patch: also what KubeRay makes of them."),
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit code 1 for warnings, too.")
    ] = False,
) -> None:
    """Put manifests through admission, offline. Exit code 0: clean, 1: denied, 2: something could not be read."""
    if include_derived and not patch:
        raise SetupError("--include-derived goes with --patch")
    found = [one for source in sources for one in read(source)]
    manifests = [one for one in found if isinstance(one, Manifest)]
    namespace_states = ManifestNamespaces((manifest.document for manifest in manifests), namespace)
    in_force = load_policy(policy)
    notes = wiring.policy_notes(in_force)
    reviewer = wiring.offline_reviewer(from_environment(), in_force, namespace_states)
    outcomes = [_examine(reviewer, manifest, namespace) for manifest in manifests]
    examined = [one for one in outcomes if isinstance(one, ReviewedManifest)]
    unreadable = [one for one in (*found, *outcomes) if isinstance(one, UnreadableManifest)]
    skipped = outcomes.count(None)
    if patch:
        _print_patched(manifests, outcomes, include_derived)
    elif output is OutputFormat.JSON:
        print(
            orjson.dumps(
                as_json(examined, unreadable, skipped, notes), option=orjson.OPT_INDENT_2
            ).decode()
        )
    if output is OutputFormat.TEXT:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        for line in as_text(examined, unreadable, skipped):
            # With --patch standard output is the manifests' alone, ready for `kubectl apply -f -`.
            print(line, file=sys.stderr if patch else sys.stdout)
    passed = all(one.allowed and not (strict and one.warned) for one in examined)
    raise typer.Exit(_UNREADABLE if unreadable else _CLEAN if passed else _DENIED)


def _examine(
    reviewer: Reviewer, manifest: Manifest, namespace: str
) -> ReviewedManifest | UnreadableManifest | None:
    try:
        return review_manifest(reviewer, manifest, namespace)
    except BadReviewError as error:
        return UnreadableManifest(str(manifest), str(error))


def _print_patched(
    manifests: list[Manifest], outcomes: Sequence[object], include_derived: bool
) -> None:
    """What has nothing to do with Ray as it is: whoever pipes this on wants all of it."""
    for manifest, one in zip(manifests, outcomes, strict=True):
        _print_document(
            str(manifest),
            one.outcome.document if isinstance(one, ReviewedManifest) else manifest.document,
        )
        for outcome in one.derived if include_derived and isinstance(one, ReviewedManifest) else ():
            _print_document(f"{outcome.kind} that KubeRay makes of {manifest}", outcome.document)


def _print_document(title: str, document: dict[str, Any]) -> None:
    print(f"---\n# {title}")
    yaml.dump(document, sys.stdout, _PlainDumper, sort_keys=False, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: what two containers share is written out for both."""

    def ignore_aliases(self, data: Any) -> bool:
        return True
