"""What the cluster's network does for a Service: one address, and behind it the replicas that are ready."""

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

# The kubelet asks less often, and a Deployment's replicas drain longer than those of the tests.
_LOOK_SECONDS = 0.2


class Service:
    """Each new connection goes to a ready replica by chance; open ones stay where they are, whatever becomes of it."""

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
            self._run(asyncio.start_server(partial(self._serve, which), "127.0.0.1", port))
            for which, port in enumerate(self._ports)
        ]
        self._looking = asyncio.run_coroutine_threadsafe(self._look(), self._loop)
        return self

    def __exit__(self, *_: object) -> None:
        self._looking.cancel()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, message: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(message, self._loop).result(10)

    async def _end(self) -> None:
        for listening in self._listening:
            listening.close()
        # Whoever was let in last has to begin before he can end.
        await asyncio.sleep(0.05)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        # Transports are closed a round of the loop after they are told.
        await asyncio.sleep(0.05)

    async def _look(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while True:
                listed = list(self.replicas)
                answers = [await _is_ready(client, replica) for replica in listed]
                self._ready = [
                    replica for replica, ready in zip(listed, answers, strict=True) if ready
                ]
                await asyncio.sleep(_LOOK_SECONDS)

    async def _serve(
        self, which: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        ends = [writer]
        try:
            if self._ready:
                there = await asyncio.open_connection(
                    "127.0.0.1", random.choice(self._ready).ports[which]
                )
                ends.append(there[1])
                await asyncio.gather(_pipe(reader, there[1]), _pipe(there[0], writer))
        except OSError:
            pass
        finally:
            for end in ends:
                end.transport.abort()


async def _is_ready(client: httpx.AsyncClient, replica: Replica) -> bool:
    with suppress(httpx.TransportError):
        return (await client.get(f"{replica.operations}/readyz")).is_success
    return False


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Until either side ends; then the other is told."""
    with suppress(OSError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
