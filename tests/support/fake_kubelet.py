"""The kubelet's side of port forwarding, over a real socket; the pod is this machine."""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

from aiohttp import WSMsgType, web

_PROTOCOL = "v4.channel.k8s.io"


class FakeKubelet:
    """Answers port forwards to `ports`, which maps a pod's ports to ports of this machine.

    To all other ports, the connection is refused. `seen` has the paths that were requested.
    """

    def __init__(self, ports: dict[int, int]) -> None:
        self.ports = ports
        self.seen: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one WebSocket."""
        self.seen.append(request.path)
        if request.headers.get("Accept") == "application/json":
            return web.Response(status=406)
        # The API server asks with `ports`, and a kubelet is asked with `port` as well.
        port = int(request.query.get("port") or request.query["ports"])
        socket = web.WebSocketResponse(protocols=(_PROTOCOL,))
        await socket.prepare(request)
        header = port.to_bytes(2, "little")
        for channel in (b"\0", b"\1"):
            await socket.send_bytes(channel + header)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[port])
        except (KeyError, OSError):
            await socket.send_bytes(b"\1connection refused")
            await socket.close()
            return socket
        download = asyncio.create_task(_download(reader, socket))
        with suppress(ConnectionError):
            async for message in socket:
                if message.type is WSMsgType.BINARY and message.data[0] == 0:
                    writer.write(message.data[1:])
                    await writer.drain()
        writer.close()
        await download
        return socket


async def _download(reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
    with suppress(ConnectionError):
        while content := await reader.read(32 * 1024):
            await socket.send_bytes(b"\0" + content)
        await socket.close()


@asynccontextmanager
async def kubelet(
    fake: FakeKubelet, port: int, context: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve a fake kubelet on a port."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return await fake.answer(request)

    server = web.Server(answer, access_log=None)
    runner = web.ServerRunner(server, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=context)
        await site.start()
        yield
    finally:
        await runner.cleanup()


@contextmanager
def kubelet_in_background(fake: FakeKubelet, port: int, context: ssl.SSLContext) -> Iterator[None]:
    """Serve a fake kubelet in a thread, for tests that are not asynchronous."""
    loop, stop, started = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

    async def main() -> None:
        async with kubelet(fake, port, context):
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    assert started.wait(20)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()
        loop.close()
