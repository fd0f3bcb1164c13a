"""Connections to a port of a pod through the API server: one WebSocket for each.

Source: Kubernetes `pkg/kubelet/server/portforward` (1.36), subprotocol `v4.channel.k8s.io`: the
first byte of a message is its channel, 0 for data and 1 for errors. The first message of each
channel is the port. There is no half-close.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from policies.documents.untyped import printable
from webhook.kube.api import KubeApi
from webhook.kube.request import Request, Resource
from webhook.ports import UnavailableError

PORT_FORWARD = Resource("", "v1", "pods/portforward")
_PROTOCOL = "v4.channel.k8s.io"
_DATA, _ERROR = 0, 1
# The kubelet copies in pieces of 32 KiB, too.
_CHUNK_BYTES = 32 * 1024
# A client that has closed its side may still be reading; this long without data, it is gone.
_IDLE_SECONDS = 2.0
_MAX_MESSAGE = 300


class PortError(UnavailableError):
    """The kubelet could not connect to the port; the message is the kubelet's."""


class PodStream:
    """A connection to a port of a pod."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._opened: set[int] = set()
        self.received = 0

    async def send(self, content: bytes) -> None:
        """Send bytes; waits while the pod reads more slowly than we write."""
        await self._socket.send_bytes(bytes((_DATA,)) + content)

    async def receive(self) -> bytes:
        """The next bytes; empty at the end. Raises PortError."""
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                return b""
            channel, content = message.data[:1], message.data[1:]
            if not channel:
                continue
            if channel[0] not in self._opened:
                # The port, in two bytes.
                self._opened.add(channel[0])
                content = content[2:]
            if not content:
                continue
            if channel[0] == _ERROR:
                raise PortError(printable(content.decode(errors="replace"), _MAX_MESSAGE))
            self.received += len(content)
            return bytes(content)


@asynccontextmanager
async def pod_stream(api: KubeApi, namespace: str, pod: str, port: int) -> AsyncIterator[PodStream]:
    """A connection to a port of a pod; raises the exceptions of `webhook.kube.request`."""
    request = Request("get", "GET", PORT_FORWARD, namespace, pod, {"ports": str(port)})
    async with api.websocket(request, _PROTOCOL) as socket:
        yield PodStream(socket)


async def copy(
    stream: PodStream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Copy in both directions until one side ends; raises PortError."""
    upload = asyncio.create_task(_upload(stream, reader))
    download = asyncio.create_task(_download(stream, writer))
    try:
        await asyncio.wait((upload, download), return_when=asyncio.FIRST_COMPLETED)
        while not download.done():
            before = stream.received
            await asyncio.wait((download,), timeout=_IDLE_SECONDS)
            if stream.received == before:
                break
        if download.done():
            download.result()
    finally:
        for task in (upload, download):
            task.cancel()
        await asyncio.gather(upload, download, return_exceptions=True)


async def _upload(stream: PodStream, reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionError, aiohttp.ClientError):
        while content := await reader.read(_CHUNK_BYTES):
            await stream.send(content)


async def _download(stream: PodStream, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError, aiohttp.ClientError):
        while content := await stream.receive():
            writer.write(content)
            await writer.drain()
