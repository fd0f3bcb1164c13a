"""A listener that has nothing to do."""

import asyncio
from collections.abc import Callable
from contextvars import Context
from ipaddress import IPv4Address
from typing import TypeVarTuple

from fastapi import FastAPI

from webhook.server.listener import listener, open_port
from webhook.server.protocol import BoundedLoop
from webhook.settings import Settings

_Arguments = TypeVarTuple("_Arguments")
# uvicorn's own loop would set several timers meanwhile.
_IDLE_SECONDS = 0.5


class CountingLoop(BoundedLoop):
    """Counts the timers that are set."""

    timers = 0

    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Arguments], object],
        *args: *_Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        self.timers += 1
        return super().call_later(delay, callback, *args, context=context)


def test_an_idle_listener_sets_no_timer_and_stops_at_once() -> None:
    """Each would wake up the process, in which the caches then hold something else."""

    async def main() -> int:
        served = listener(FastAPI(), open_port(IPv4Address("127.0.0.1"), 0), Settings())
        serving = asyncio.create_task(served.serve_until_exit())
        while not served.started:
            await asyncio.sleep(0.01)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, CountingLoop)
        loop.timers = 0
        await asyncio.sleep(_IDLE_SECONDS)
        timers = loop.timers
        served.stop()
        await serving
        return timers

    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        # The pause of this test sets one.
        assert runner.run(main()) == 1
