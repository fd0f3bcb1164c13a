"""`raywarden connect`: runs a program that uses a Ray cluster from outside."""

import asyncio
import re
import signal
import sys
from collections.abc import Coroutine
from datetime import timedelta
from typing import Annotated, Any

import typer
import uvloop

from webhook.commands.cluster_options import ContextOption, KubeconfigOption
from webhook.connect.problems import ConnectError
from webhook.connect.program import STOPS
from webhook.connect.session import ConnectOptions, connect
from webhook.environment import process_environment

_DURATION = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# The API server refuses less.
_SHORTEST = timedelta(minutes=10)


def connect_command(
    cluster: Annotated[
        str, typer.Argument(metavar="NAMESPACE/CLUSTER", help="The cluster to connect to.")
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="Program to run. Default: your shell."),
    ] = None,
    print_only: Annotated[
        bool,
        typer.Option("--print", help="Print variables for another shell, and wait for Ctrl-C."),
    ] = False,
    ttl: Annotated[
        str, typer.Option(help="How long to stay connected: 30m, 8h. The server may allow less.")
    ] = "8h",
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = "",
) -> None:
    """Connect to a Ray cluster from outside, and run a program that uses it.

    For example: raywarden connect ml/train -- ray job submit --working-dir . -- python x.py

    You need the roles raywarden-ray-user and raywarden-ray-user-requests. The exit code is that of
    the program, or 2 if there is no connection.
    """
    namespace, slash, name = cluster.partition("/")
    if not (namespace and slash and name) or "/" in name:
        raise ConnectError(f"{cluster} is not NAMESPACE/CLUSTER")
    if print_only and command:
        raise ConnectError("--print runs no command: leave one of them out")
    environment = process_environment()
    program = [] if print_only else (command or [environment.get("SHELL", "/bin/sh")])
    options = ConnectOptions(namespace, name, program, _duration(ttl), kubeconfig, context)
    sys.exit(_run(connect(options, environment)))


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else timedelta()
    if duration < _SHORTEST:
        raise ConnectError(f"--ttl {text}: write a duration of at least 10m, such as 8h")
    return duration


def _run(main: Coroutine[Any, Any, int]) -> int:
    """Run it; a signal that arrives before the program runs cleans up, too."""

    async def stoppable() -> int:
        task = asyncio.current_task()
        assert task
        loop = asyncio.get_running_loop()
        for number in STOPS:
            loop.add_signal_handler(number, task.cancel)
        return await main

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(stoppable())
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
