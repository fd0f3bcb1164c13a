"""Runs a test between a fake API server and a real client."""

import asyncio
import json
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from aiohttp import web

from tests.support.fake_kube_api import FakeKubeApi
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
from webhook.kube.token_keys import TokenKeys
from webhook.ports import UnavailableError

TOKEN = "the-token-of-our-own-service-account"


def kubeconfig_for(fake: FakeKubeApi, folder: Path) -> Path:
    """A kubeconfig for `fake` with our token."""
    return write_kubeconfig(
        folder / "kubeconfig", {"server": f"http://127.0.0.1:{fake.port}"}, {"token": TOKEN}
    )


def write_kubeconfig(file: Path, cluster: Mapping[str, Any], user: Mapping[str, Any]) -> Path:
    """A kubeconfig with a single context."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "one", "cluster": dict(cluster)}],
        "users": [{"name": "me", "user": dict(user)}],
        "contexts": [{"name": "here", "context": {"cluster": "one", "user": "me"}}],
        "current-context": "here",
    }
    file.write_text(json.dumps(content))
    return file


async def run_command(fake: FakeKubeApi, *arguments: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of a `raywarden` command that talks to `fake`."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", *arguments),
            *("--kubeconfig", str(kubeconfig_for(fake, Path(folder)))),
            env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


@asynccontextmanager
async def listening(
    fake: FakeKubeApi, context: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve `fake` on its port; cut all connections at the end."""
    runner = web.ServerRunner(
        web.Server(fake.answer, access_log=None, handler_cancellation=True),
        handle_signals=False,
        shutdown_timeout=0.01,
    )
    await runner.setup()
    try:
        await web.TCPSite(
            runner, "127.0.0.1", fake.port, ssl_context=context, reuse_address=True
        ).start()
        yield
    finally:
        await runner.cleanup()


def talk(main: Coroutine[Any, Any, None]) -> None:
    """Run it with no proxy between us and loopback."""
    with pytest.MonkeyPatch.context() as environment:
        for name in ("no_proxy", "NO_PROXY"):
            environment.setenv(name, "127.0.0.1")
        asyncio.run(main)


def conversation(
    test: Callable[[FakeKubeApi, KubeApi], Coroutine[Any, Any, None]],
) -> Callable[[Path], None]:
    """Decorates a test that takes a fake and a client connected to it, for pytest to run."""

    async def main(folder: Path) -> None:
        fake = FakeKubeApi(free_port())
        async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, folder)) as api:
            await test(fake, api)

    def run(tmp_path: Path) -> None:
        talk(main(tmp_path))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


@asynccontextmanager
async def following(api: KubeApi, keys: TokenKeys | None = None) -> AsyncIterator[KubeLive]:
    """The live view of a cluster, synced and kept up to date."""
    live = KubeLive(api, keys=keys, retry_seconds=0.05)
    task = asyncio.create_task(live.run())
    try:
        await asyncio.wait_for(live.wait_synced(), 20)
        yield live
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for a condition; raises TimeoutError if it does not become true in time."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


async def problem(call: Awaitable[Any]) -> UnavailableError:
    """The exception that a call raises, which must never contain our token."""
    with pytest.raises(UnavailableError) as raised:
        await call
    error: BaseException | None = raised.value
    while error:
        assert TOKEN not in repr(error) + str(error) + repr(error.args)
        error = None if error.__suppress_context__ else error.__context__
    return raised.value
