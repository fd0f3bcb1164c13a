"""`raywarden policy`: the policy file for other programs than RayWarden."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from policies.export.check import Context
from policies.export.mutation import mutating_policies
from policies.export.table import coverage
from policies.export.validation import validating_policies
from webhook.policy.file import load_policy
from webhook.settings import SetupError, from_environment

app = typer.Typer(name="policy", help="Turn the policy file into policies of Kubernetes.")
_COMMENT = (
    "# Written by `raywarden policy export`; do not edit. The API server evaluates these policies\n"
    "# itself.\n"
)


@app.callback()
def policy_command() -> None:
    """Keeps `export` a subcommand, although there is no other yet."""


@app.command()
def export(
    policy: Annotated[Path | None, typer.Option(help="Policy file. Default: built in.")] = None,
    mutations: Annotated[
        bool,
        typer.Option(
            "--mutations",
            help="Also write MutatingAdmissionPolicies, for Kubernetes 1.36 or later.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Write one file a rule into DIR."),
    ] = None,
    show_coverage: Annotated[
        bool,
        typer.Option("--coverage", help="Only list what is exported, and why the rest is not."),
    ] = False,
) -> None:
    """Print rules as ValidatingAdmissionPolicies (Kubernetes 1.30), for kubectl apply -f -.

    The API server evaluates them itself, also while no replica of RayWarden is ready.
    """
    if show_coverage:
        print(coverage(), end="")
        return
    configured = load_policy(policy)
    injection = configured.inject
    images = (from_environment().enroll_image, injection.dashboard_proxy_image)
    context = Context(tuple(image for image in images if image), injection)
    documents = list(validating_policies(configured, context))
    if mutations:
        documents += mutating_policies(configured)
    if output is None:
        print(_COMMENT + _text(documents), end="")
    else:
        _write(output, documents)


def _write(folder: Path, documents: list[dict[str, object]]) -> None:
    """One file for each policy and its bindings."""
    files: dict[str, list[dict[str, object]]] = {}
    name = ""
    for document in documents:
        metadata = document["metadata"]
        assert isinstance(metadata, dict)
        if not str(document["kind"]).endswith("Binding"):
            name = metadata["name"]
        files.setdefault(f"{name}.yaml", []).append(document)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, parts in files.items():
            (folder / file).write_text(_COMMENT + _text(parts))
    except OSError as error:
        raise SetupError(f"cannot write to {folder}: {error.strerror}") from None


def _text(documents: list[dict[str, object]]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=2_000, explicit_start=True)
