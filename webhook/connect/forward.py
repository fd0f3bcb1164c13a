"""Ports on this machine that lead to ports of a head, through the API server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from webhook.kube.api import KubeApi
from webhook.kube.port_forward import PodStream, PortError, copy, pod_stream
from webhook.kube.request import NotFoundError, UnauthorizedError
from webhook.ports import UnavailableError

LOOPBACK = "127.0.0.1"
# A kubelet reports a port that nobody listens on at once; one that works says nothing.
_SILENCE_SECONDS = 0.5
# Ray opens a handful of connections, and a program may open hundreds; each is a file here.
_MAX_CONNECTIONS = 1000


class PodForward:
    """Forwards ports of one pod; `log_in` makes a new client when the credentials have expired.

    `report` receives each problem of a connection once, for the user to read.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        pod: str,
        log_in: Callable[[], Awaitable[KubeApi]],
        report: Callable[[str], None],
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._pod = pod
        self._log_in = log_in
        self._report = report
        self._reported: set[str] = set()
        self._renewing = asyncio.Lock()
        self._renewed = AsyncExitStack()
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[int]:
        """Forward a port of the pod; gives the local port, the same number where it is free."""

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if len(self._connections) >= _MAX_CONNECTIONS:
                writer.close()
                return
            task = asyncio.create_task(self._serve(port, reader, writer))
            self._connections.add(task)
            task.add_done_callback(self._connections.discard)

        try:
            server = await asyncio.start_server(accept, LOOPBACK, port)
        # Ray may run on this machine, too; and only root may listen on low ports.
        except OSError:
            server = await asyncio.start_server(accept, LOOPBACK, 0)
        try:
            local: int = server.sockets[0].getsockname()[1]
            yield local
        finally:
            server.close()

    async def verify(self, port: int) -> None:
        """Connect once; raises PortError if nobody listens on the port, or UnavailableError."""
        async with self._stream(port) as stream:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await stream.receive()

    async def close(self) -> None:
        """Close all connections."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._renewed.aclose()

    async def _serve(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with self._stream(port) as stream:
                await copy(stream, reader, writer)
        except PortError as error:
            self._say(f"the head does not accept connections to its port {port} ({error})")
        except NotFoundError:
            self._say(f"the head {self._pod} is gone: end this, and connect again")
        except UnavailableError as error:
            self._say(f"a connection to port {port} failed: {error}")
        finally:
            writer.close()

    @asynccontextmanager
    async def _stream(self, port: int) -> AsyncIterator[PodStream]:
        api = self._api
        async with AsyncExitStack() as stack:
            opened = pod_stream(api, self._namespace, self._pod, port)
            try:
                stream = await stack.enter_async_context(opened)
            except UnauthorizedError:
                # Tokens of cloud providers live for minutes, and connections are opened for hours.
                await self._renew(api)
                opened = pod_stream(self._api, self._namespace, self._pod, port)
                stream = await stack.enter_async_context(opened)
            yield stream

    async def _renew(self, expired: KubeApi) -> None:
        async with self._renewing:
            if self._api is expired:
                self._api = await self._renewed.enter_async_context(await self._log_in())

    def _say(self, problem: str) -> None:
        if problem not in self._reported:
            self._reported.add(problem)
            self._report(problem)
