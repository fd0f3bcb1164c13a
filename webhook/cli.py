"""The command line: `raywarden serve | demo | review | check | rules | ca | enroll`."""

import asyncio
import sys
from collections.abc import Awaitable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import orjson
import typer
import yaml

from webhook import __version__, ca_command, rules_command, wiring
from webhook.check_command import check_command
from webhook.demo import run_demo
from webhook.dry_run import Examined, examine
from webhook.enroll_command import enroll_command
from webhook.manifest_neighbourhoods import ManifestNeighbourhoods
from webhook.manifests import Manifest, Unreadable, read
from webhook.observe import set_up_logging
from webhook.policy_file import load_policy
from webhook.report import as_json, as_text
from webhook.review import Reviewer
from webhook.serving import run
from webhook.settings import Settings, SetupError, from_environment, unknown
from webhook.wire import BadReviewError, parse
from webhook.wiring import Server

_CLEAN, _DENIED, _UNREADABLE = 0, 1, 2
# As the shell has it for who ended by SIGINT.
_INTERRUPTED = 130

app = typer.Typer(
    name="raywarden",
    help="Makes Ray on Kubernetes secure by default.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("check")(check_command)
app.command("enroll")(enroll_command)
app.add_typer(ca_command.app)
app.add_typer(rules_command.app)


class Output(StrEnum):
    """How `review` reports."""

    TEXT = "text"
    JSON = "json"


def main() -> None:
    """Entry point of the `raywarden` command."""
    try:
        app(prog_name="raywarden")
    except SetupError as error:
        print(f"raywarden: {error}", file=sys.stderr)
        sys.exit(_UNREADABLE)


@app.command()
def serve(
    dev: Annotated[bool, typer.Option("--dev", help="No cluster: seed in memory, certificate for localhost.")] = False,
    ca_file: Annotated[Path | None, typer.Option(help="Keep the CA that clients must trust in this file.")] = None,
    token_dir: Annotated[
        Path | None, typer.Option(help="With --dev: write a token for each pod to FOLDER/NAMESPACE/POD/token.")
    ] = None,
) -> None:
    """Answer AdmissionReviews and sign certificates until SIGTERM. Settings are RAYWARDEN_... environment variables."""
    settings = from_environment(strict=True)
    set_up_logging(settings.log_level)
    if token_dir and not dev:
        raise SetupError("--token-dir goes with --dev: in a cluster the kubelet hands out tokens")
    told = partial(_write, ca_file)
    run(_serve(wiring.dev_server(settings, token_dir, told) if dev else wiring.server(settings, told)))


async def _serve(server: Awaitable[Server]) -> None:
    await (await server).run(asyncio.Event())


def _write(file: Path | None, content: bytes) -> None:
    try:
        if file:
            file.write_bytes(content)
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None


@app.command()
def demo(
    examples: Annotated[Path, typer.Argument(help="Folder of AdmissionReviews (JSON).", exists=True, file_okay=False)],
    objects: Annotated[
        Path | None, typer.Option(help="Live objects (YAML); the pods among them enrol.", exists=True, dir_okay=False)
    ] = None,
    keep_serving: Annotated[bool, typer.Option(help="Go on serving after the table, until Ctrl-C.")] = False,
) -> None:
    """Start a development server, send it AdmissionReviews over HTTPS, have pods enrol, and show what comes back."""
    settings = from_environment()
    set_up_logging("error")
    reviews = {file.stem: _review_in(file) for file in sorted(examples.glob("*.json"))}
    if not reviews:
        raise SetupError(f"{examples}: no AdmissionReviews (*.json) in this folder")
    run(_demo(settings, reviews, objects, keep_serving))


async def _demo(settings: Settings, reviews: Mapping[str, Any], objects: Path | None, keep_serving: bool) -> None:
    with TemporaryDirectory() as folder:
        settings = settings.model_copy(update={"objects_file": objects})
        server = await wiring.dev_server(settings, Path(folder))
        shown = await run_demo(server, reviews, objects, Path(folder), keep_serving)
    if not shown:
        raise typer.Exit(_INTERRUPTED)


@app.command()
def review(
    sources: Annotated[list[str], typer.Argument(metavar="FILE|DIR|-", help="Manifests; - reads standard input.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file; the default policy without it.")] = None,
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="For manifests that name none.")] = "default",
    output: Annotated[Output, typer.Option("--output", "-o", help="How to report.")] = Output.TEXT,
    patch: Annotated[
        bool, typer.Option("--patch", help="Print the manifests as admission would store them; report on stderr.")
    ] = False,
    made: Annotated[bool, typer.Option("--made", help="With --patch: also what KubeRay makes of them.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 1 for warnings, too.")] = False,
) -> None:
    """Put manifests through admission, offline. Exit code 0: clean, 1: denied, 2: something could not be read."""
    if made and not patch:
        raise SetupError("--made goes with --patch")
    found = [one for source in sources for one in read(source)]
    manifests = [one for one in found if isinstance(one, Manifest)]
    neighbourhoods = ManifestNeighbourhoods((manifest.document for manifest in manifests), namespace)
    in_force = load_policy(policy)
    notes = wiring.policy_notes(in_force)
    reviewer = wiring.offline_reviewer(from_environment(), in_force, neighbourhoods)
    outcomes = [_examine(reviewer, manifest, namespace) for manifest in manifests]
    examined = [one for one in outcomes if isinstance(one, Examined)]
    unreadable = [one for one in (*found, *outcomes) if isinstance(one, Unreadable)]
    skipped = outcomes.count(None)
    if patch:
        _print_patched(manifests, outcomes, made)
    elif output is Output.JSON:
        print(orjson.dumps(as_json(examined, unreadable, skipped, notes), option=orjson.OPT_INDENT_2).decode())
    if output is Output.TEXT:
        for note in notes:
            print(f"note: {note}", file=sys.stderr)
        for line in as_text(examined, unreadable, skipped):
            # With --patch standard output is the manifests' alone, ready for `kubectl apply -f -`.
            print(line, file=sys.stderr if patch else sys.stdout)
    passed = all(one.allowed and not (strict and one.warned) for one in examined)
    raise typer.Exit(_UNREADABLE if unreadable else _CLEAN if passed else _DENIED)


def _examine(reviewer: Reviewer, manifest: Manifest, namespace: str) -> Examined | Unreadable | None:
    try:
        return examine(reviewer, manifest, namespace)
    except BadReviewError as error:
        return Unreadable(str(manifest), str(error))


@app.callback(invoke_without_command=True)
def _first(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        print(f"raywarden {__version__}")
        raise typer.Exit()
    # `serve` does not start with them.
    for problem in unknown() if context.invoked_subcommand != "serve" else ():
        print(f"raywarden: warning: {problem}", file=sys.stderr)


def _print_patched(manifests: list[Manifest], outcomes: Sequence[object], made: bool) -> None:
    """What has nothing to do with Ray as it is: whoever pipes this on wants all of it."""
    for manifest, one in zip(manifests, outcomes, strict=True):
        _print_document(str(manifest), one.outcome.document if isinstance(one, Examined) else manifest.document)
        for outcome in one.becomes if made and isinstance(one, Examined) else ():
            _print_document(f"{outcome.kind} that KubeRay makes of {manifest}", outcome.document)


def _print_document(title: str, document: dict[str, Any]) -> None:
    print(f"---\n# {title}")
    yaml.dump(document, sys.stdout, _PlainDumper, sort_keys=False, allow_unicode=True)


class _PlainDumper(yaml.SafeDumper):
    """YAML without anchors: what two containers share is written out for both."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _review_in(file: Path) -> Any:
    try:
        parse(body := file.read_bytes())
    except (BadReviewError, OSError) as error:
        raise SetupError(f"{file}: {error}") from None
    return orjson.loads(body)
