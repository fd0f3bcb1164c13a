"""Repeats requests to the API server that failed and may succeed later."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from webhook.kube.request import BusyError, TooEarlyError, backoff

T = TypeVar("T")

_ATTEMPTS = 4
# As many as client-go makes where the API server says when to come again.
_ATTEMPTS_WHEN_TOLD = 10
_FIRST_PAUSE_SECONDS = 0.1


async def repeated(
    once: Callable[[float], Awaitable[T]], seconds: float, retried: type[BusyError]
) -> T:
    """The result of `once`, which is called again after an exception of type `retried`.

    `seconds` bounds all calls and the pauses between them; `once` gets what is left of it.
    """
    clock = asyncio.get_running_loop().time
    deadline, attempt = clock() + seconds, 1
    while True:
        try:
            return await once(deadline - clock())
        except retried as error:
            pause = max(error.pause, backoff(attempt, _FIRST_PAUSE_SECONDS))
            most = _ATTEMPTS_WHEN_TOLD if isinstance(error, TooEarlyError) else _ATTEMPTS
            if attempt >= most or clock() + pause >= deadline:
                raise
            await asyncio.sleep(pause)
            attempt += 1
