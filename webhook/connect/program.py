"""Runs the user's program, passes signals on to it, and gives its exit code."""

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from webhook.connect.problems import ConnectError

# After SIGTERM a program has this long; what follows here takes no time.
_GRACE_SECONDS = 10.0
_SIGNALED = 128
STOPS = (signal.SIGTERM, signal.SIGHUP)


async def run_program(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """The exit code of a program, as a shell would give it; raises ConnectError."""
    try:
        process = await asyncio.create_subprocess_exec(*command, env=dict(environment))
    except FileNotFoundError:
        raise ConnectError(f"{command[0]}: there is no such command") from None
    except OSError as error:
        raise ConnectError(f"{command[0]}: {error.strerror}") from None
    stopped = asyncio.Event()

    def pass_on(number: signal.Signals) -> None:
        stopped.set()
        with suppress(ProcessLookupError):
            process.send_signal(number)

    with _handling(pass_on):
        code = await _wait(process, stopped)
    return code if code >= 0 else _SIGNALED - code


async def wait_for_stop() -> None:
    """Wait for Ctrl-C, SIGTERM or SIGHUP."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, *STOPS):
        loop.add_signal_handler(number, stopped.set)
    await stopped.wait()


async def _wait(process: asyncio.subprocess.Process, stopped: asyncio.Event) -> int:
    ended = asyncio.create_task(process.wait())
    stop = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait((ended, stop), return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait((ended,), timeout=_GRACE_SECONDS)
        if not ended.done():
            process.kill()
        return await ended
    finally:
        stop.cancel()
        if not ended.done():
            process.kill()
            await ended


@contextmanager
def _handling(pass_on: Callable[[signal.Signals], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number in STOPS:
        loop.add_signal_handler(number, pass_on, number)
    # In a terminal, Ctrl-C reaches the program as well, and it decides what that means.
    in_terminal = sys.stdin is not None and sys.stdin.isatty()
    interrupted = (lambda _: None) if in_terminal else pass_on
    loop.add_signal_handler(signal.SIGINT, interrupted, signal.SIGINT)
    try:
        yield
    finally:
        # What is left to do is short, and must not be interrupted: it removes the key.
        for number in (signal.SIGINT, *STOPS):
            loop.add_signal_handler(number, lambda: None)
