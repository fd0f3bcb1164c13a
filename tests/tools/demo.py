"""`make demo`: a real server, real HTTPS, and a table with its response to each example.

`python -m tests.tools.demo FOLDER [--objects FILE] [--keep-serving]`
"""

import asyncio
import base64
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import httpx
import jsonpatch
import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from policies.documents.untyped import as_dict
from policies.ray.membership import RAY_GROUP
from policies.ray.pod import Pod
from policies.ray.workload import Kind, Workload
from tests.tools.demo_enrollment import enrollments
from webhook import wiring
from webhook.admission.wire import BadReviewError, parse
from webhook.server.listener import run
from webhook.server.observer import set_up_logging
from webhook.server.server import Server
from webhook.settings import Settings, SetupError, from_environment

# The exit code that shells use for a process that SIGINT ended.
_INTERRUPTED = 130


def main(
    examples: Annotated[
        Path,
        typer.Argument(help="Folder of AdmissionReviews (JSON).", exists=True, file_okay=False),
    ],
    objects: Annotated[
        Path | None,
        typer.Option(
            help="Live objects (YAML). The pods in the file enroll.", exists=True, dir_okay=False
        ),
    ] = None,
    keep_serving: Annotated[
        bool, typer.Option(help="Keep serving after printing the table, until Ctrl-C.")
    ] = False,
) -> None:
    """Start a development server, send it AdmissionReviews over HTTPS, and show the responses."""
    set_up_logging("error")
    reviews = {file.stem: _review_in(file) for file in sorted(examples.glob("*.json"))}
    if not reviews:
        raise SetupError(f"{examples}: the folder contains no AdmissionReviews (*.json)")
    run(_demo(from_environment(), reviews, objects, keep_serving))


async def _demo(
    settings: Settings, reviews: Mapping[str, Any], objects: Path | None, keep_serving: bool
) -> None:
    with TemporaryDirectory() as folder:
        settings = settings.model_copy(update={"objects_file": objects})
        server = await wiring.dev_server(settings, Path(folder))
        completed = await run_demo(server, reviews, objects, Path(folder), keep_serving)
    if not completed:
        raise typer.Exit(_INTERRUPTED)


def _review_in(file: Path) -> Any:
    try:
        body = file.read_bytes()
        parse(body)
    except (BadReviewError, OSError) as error:
        raise SetupError(f"{file}: {error}") from None
    return orjson.loads(body)


async def run_demo(
    server: Server,
    reviews: Mapping[str, Any],
    objects: Path | None,
    token_dir: Path,
    keep_serving: bool,
) -> bool:
    """Send every AdmissionReview to `/mutate` and the result to `/validate`; enroll pods.

    The pods are those in `objects`. Prints a table of the responses and a table of the enrollments.
    Returns False if the demo was interrupted before it printed them.
    """
    stop = asyncio.Event()
    serving = asyncio.create_task(server.run(stop))
    # If the output is not a terminal, rich would wrap everything at 80 columns.
    console = Console() if sys.stdout.isatty() else Console(width=120)
    showing = asyncio.create_task(_show(server, reviews, objects, token_dir, console))
    try:
        await asyncio.wait((serving, showing), return_when=asyncio.FIRST_COMPLETED)
        if not server.readiness.ready:
            return False
        await showing
        if keep_serving:
            console.print(
                f"\nServing on {_url(server)} (admission), "
                f"https://localhost:{server.enrollment.port} (enrollment) and "
                f"http://127.0.0.1:{server.operations.port} (operations). Press Ctrl-C to stop."
            )
            await serving
        return True
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
        stop.set()
        await serving


async def _show(
    server: Server,
    reviews: Mapping[str, Any],
    objects: Path | None,
    token_dir: Path,
    console: Console,
) -> None:
    await server.readiness.wait()
    await _present(server, reviews, console)
    if objects:
        console.print(await enrollments(server, objects, token_dir))


async def _present(server: Server, reviews: Mapping[str, Any], console: Console) -> None:
    table = Table(title="AdmissionReviews over HTTPS", show_lines=True)
    table.add_column("example", overflow="fold", max_width=26)
    table.add_column("verdict")
    table.add_column("what /mutate injected, and the messages of /validate", overflow="fold")
    context = ssl.create_default_context(cadata=server.ca.decode())
    async with httpx.AsyncClient(base_url=_url(server), verify=context) as client:
        for name, review in reviews.items():
            table.add_row(name, *await _row(client, review))
    console.print(table)


async def _row(client: httpx.AsyncClient, review: dict[str, Any]) -> tuple[str, Text]:
    mutation = await _send(client, "/mutate", review)
    operations = orjson.loads(base64.b64decode(mutation.get("patch", "")) or b"[]")
    request = review["request"]
    request["object"] = jsonpatch.apply_patch(request["object"], operations)
    verdict = await _send(client, "/validate", review)
    denial = as_dict(verdict.get("status")).get("message", "")
    lines = [Text(line, "cyan") for line in _injected(request, operations)]
    lines += [Text(f"! {line}", "red") for line in denial.splitlines()]
    lines += [Text(f"warning: {line}", "yellow") for line in verdict.get("warnings", ())]
    outcome = "[green]allowed[/green]" if verdict["allowed"] else "[red]denied[/red]"
    return outcome, Text("\n").join(lines)


async def _send(client: httpx.AsyncClient, path: str, review: dict[str, Any]) -> dict[str, Any]:
    response = await client.post(
        path, content=orjson.dumps(review), headers={"Content-Type": "application/json"}
    )
    response.raise_for_status()
    answer: dict[str, Any] = response.json()["response"]
    return answer


def _injected(request: dict[str, Any], operations: Sequence[Any]) -> list[str]:
    """The injected parts, read from the mutated object itself."""
    workload = Workload.of(Kind(**request["kind"]), request["object"]) if operations else None
    if workload is None and request["kind"]["group"] == RAY_GROUP:
        return ["nothing injected here; the RayCluster that KubeRay creates from it is mutated"]
    if workload is None:
        return ["nothing injected"]
    groups = workload.cluster.groups if workload.cluster else ()
    addresses = {group.title: group.start_params.get("node-ip-address") for group in groups}
    lines = []
    for pod in workload.pods:
        parts = _injected_parts(pod)
        if pod.title in addresses:
            parts.append(f"node-ip-address {addresses[pod.title]}")
        lines.append(f"{pod.title}: {'; '.join(parts)}")
    return [*lines, f"{len(operations)} operations"]


def _injected_parts(pod: Pod) -> list[str]:
    init_containers = [
        container.name for container in pod.containers if container.list_name == "initContainers"
    ]
    with_tls = [
        container.name
        for container in pod.ray_containers
        if "RAY_USE_TLS" in container.variables.names
    ]
    parts = []
    if with_tls:
        parts.append(f"TLS in {', '.join(with_tls)}")
    if init_containers:
        parts.append(f"init containers {', '.join(init_containers)}")
    return parts


def _url(server: Server) -> str:
    return f"https://localhost:{server.admission.port}"


if __name__ == "__main__":
    try:
        typer.run(main)
    except SetupError as error:
        sys.exit(f"demo: {error}")
