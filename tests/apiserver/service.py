"""A Service as a cluster's network implements it: one address for all ready replicas."""

import asyncio
import random
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

import httpx

from tests.apiserver.free_ports import free_port
from tests.apiserver.replica import Replica

# A kubelet probes less often, but replicas of a Deployment also drain longer than those of tests.
_PROBE_SECONDS = 0.2


class Service:
    """A TCP proxy to the ready replicas.

    A new connection goes to a random ready replica. Open connections stay with their replica, even
    if it is no longer ready.
    """

    def __init__(self) -> None:
        self.replicas: list[Replica] = []
        self._ports = (free_port(), free_port())
        self._ready: Sequence[Replica] = ()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def admission(self) -> str:
        return f"https://localhost:{self._ports[0]}"

    @property
    def enrollment(self) -> str:
        return f"https://localhost:{self._ports[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening = [
            self._run(asyncio.start_server(partial(self._serve, index), "127.0.0.1", port))
            for index, port in enumerate(self._ports)
        ]
        self._probing = asyncio.run_coroutine_threadsafe(self._probe(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._probing.cancel()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end(self) -> None:
        for listening in self._listening:
            listening.close()
        # The task of a connection that was just accepted must start before it can be cancelled.
        await asyncio.sleep(0.05)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # A transport closes one iteration of the loop after `abort`.
        await asyncio.sleep(0.05)

    async def _probe(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                replicas = list(self.replicas)
                self._ready = [replica for replica in replicas if await _is_ready(client, replica)]
                await asyncio.sleep(_PROBE_SECONDS)

    async def _serve(
        self, index: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = [writer]
        try:
            if self._ready:
                port = random.choice(self._ready).ports[index]
                upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
                ends.append(upstream_writer)
                await asyncio.gather(_pipe(reader, upstream_writer), _pipe(upstream_reader, writer))
        # Python 3.11 reports the cancellation of such a task as an error.
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in ends:
                end.transport.abort()


async def _is_ready(client: httpx.AsyncClient, replica: Replica) -> bool:
    with suppress(httpx.TransportError):
        return (await client.get(f"{replica.operations}/readyz")).is_success
    return False


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy everything until either side ends; then close the other."""
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
