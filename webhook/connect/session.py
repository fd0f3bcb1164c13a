"""A connection to a Ray cluster from outside, from the first request to the last file removed."""

import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from policies.ray.version import dotted
from webhook.connect.certificate import ClientFiles, client_certificate
from webhook.connect.forward import LOOPBACK, PodForward
from webhook.connect.problems import ConnectError, explained
from webhook.connect.program import run_program, wait_for_stop
from webhook.connect.ray_head import RayHead, RayPorts, find_head
from webhook.connect.ray_install import version_warning
from webhook.connect.ray_token import ray_token
from webhook.connect.workspace import Workspace, workspace
from webhook.kube.api import KubeApi
from webhook.kube.port_forward import PortError
from webhook.ports import UnavailableError

_TOKEN = "RAY_AUTH_TOKEN"


@dataclass(frozen=True, slots=True)
class ConnectOptions:
    """What the user asked for; an empty `command` only prints what a shell needs."""

    namespace: str
    name: str
    command: Sequence[str]
    lifetime: timedelta
    kubeconfig: Path | None
    context: str


@dataclass(frozen=True, slots=True)
class _Connection:
    head: RayHead
    files: ClientFiles
    workspace: Workspace
    ports: RayPorts


async def connect(options: ConnectOptions, environment: Mapping[str, str]) -> int:
    """Connect, run the command, and clean up; returns the exit code. Raises ConnectError."""
    warning = ""
    async with _connected(options, environment) as connection:
        own = connection.workspace.environment(environment, connection.ports)
        if options.command:
            warning = await version_warning(options.command, own, connection.head.version)
        if warning:
            say(f"warning: {warning}")
        say(_summary(connection))
        if options.command:
            return await run_program(options.command, own)
        print("\n".join(connection.workspace.exports(connection.ports)), flush=True)
        say("paste these lines into another terminal; Ctrl-C here ends the connection")
        await wait_for_stop()
        return 0


@asynccontextmanager
async def _connected(
    options: ConnectOptions, environment: Mapping[str, str]
) -> AsyncIterator[_Connection]:
    async def log_in() -> KubeApi:
        return await _log_in(options)

    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(await log_in())
        head = await find_head(api, options.namespace, options.name)
        token = await ray_token(api, head, environment.get(_TOKEN, ""))
        certificate = client_certificate(api, head.cluster, options.lifetime)
        files = await stack.enter_async_context(certificate)
        forward = PodForward(api, options.namespace, head.pod, log_in, say)
        stack.push_async_callback(forward.close)
        ports = await _forwarded(stack, forward, head)
        place = stack.enter_context(workspace(files, token))
        yield _Connection(head, files, place, ports)


async def _log_in(options: ConnectOptions) -> KubeApi:
    try:
        return await KubeApi.connect(options.kubeconfig, context=options.context, connections=0)
    except UnavailableError as error:
        raise ConnectError(f"{error}; `kubectl auth whoami` shows what is wrong") from None


async def _forwarded(stack: AsyncExitStack, forward: PodForward, head: RayHead) -> RayPorts:
    """Forward the three ports; gives those on this machine."""
    with explained(head.cluster.namespace):
        try:
            await forward.verify(head.ports.client)
        except PortError as error:
            raise ConnectError(
                f"the head {head.pod} does not accept connections to its port "
                f"{head.ports.client} ({error}): does Ray run there, with Ray Client?"
            ) from None
    try:
        client, dashboard, gcs = [
            await stack.enter_async_context(forward.listening(port))
            for port in (head.ports.client, head.ports.dashboard, head.ports.gcs)
        ]
    except OSError as error:
        raise ConnectError(f"no port of {LOOPBACK} is free ({error.strerror})") from None
    return RayPorts(client, dashboard, gcs)


def say(text: str) -> None:
    """Tell the user something; standard output belongs to their program."""
    print(f"raywarden: {text}", file=sys.stderr, flush=True)


def _summary(connection: _Connection) -> str:
    head, ports = connection.head, connection.ports
    version = f" (Ray {dotted(head.version)})" if head.version else ""
    return (
        f"connected to {head.cluster}{version} until {connection.files.not_after:%F %H:%M} UTC; "
        f"Ray Client {LOOPBACK}:{ports.client}, dashboard http://{LOOPBACK}:{ports.dashboard}, "
        f"GCS {LOOPBACK}:{ports.gcs}"
    )
