"""Ports that are forwarded through a WebSocket of Kubernetes, over real sockets."""

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.fake_kubelet import FakeKubelet, kubelet
from tests.support.kube_conversation import free_port, talk, until, write_kubeconfig
from webhook.connect.forward import PodForward
from webhook.kube.api import KubeApi
from webhook.kube.port_forward import PortError
from webhook.kube.request import ForbiddenError, NotFoundError, UnauthorizedError

RAY = 10001
MEGABYTE = 1024 * 1024


class Forwarding:
    """A forwarded port of a pod, whose own port is a server of this test."""

    def __init__(self, api: KubeApi, fake: FakeKubelet, log_in: Any) -> None:
        self.fake, self.problems = fake, list[str]()
        self.forward = PodForward(api, "ml", "head", log_in, self.problems.append)


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while content := await reader.read(65536):
        writer.write(content)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def forwarding(
    folder: Path, serve: Callable[..., Any] = echo, answer: Any = None
) -> AsyncIterator[Forwarding]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    fake = FakeKubelet({RAY: server.sockets[0].getsockname()[1]})
    if answer:
        fake.answer = answer  # type: ignore[method-assign]  # a fault
    port = free_port()
    kubeconfig = write_kubeconfig(
        folder / "kubeconfig", {"server": f"http://127.0.0.1:{port}"}, {"token": "mine"}
    )

    async def log_in() -> KubeApi:
        return await KubeApi.connect(kubeconfig, connections=0)

    async with kubelet(fake, port), await log_in() as api:
        forwarded = Forwarding(api, fake, log_in)
        try:
            yield forwarded
        finally:
            await forwarded.forward.close()
            server.close()


def conversation(test: Callable[[Path], Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        talk(test(tmp_path))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def exchange(port: int, content: bytes) -> bytes:
    """What comes back for `content`, which is sent while the answer is read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        writer.write(content)
        await writer.drain()

    sent = asyncio.create_task(send())
    received = await asyncio.wait_for(reader.readexactly(len(content)), 60)
    await sent
    writer.close()
    return received


@conversation
async def test_megabytes_arrive_unchanged_on_many_connections_at_once(folder: Path) -> None:
    async with forwarding(folder) as forwarded, forwarded.forward.listening(RAY) as port:
        contents = [os.urandom(MEGABYTE // 4) for _ in range(150)] + [os.urandom(8 * MEGABYTE)]
        answers = await asyncio.gather(*(exchange(port, content) for content in contents))
        digests = [hashlib.sha256(answer).digest() for answer in answers]
        assert digests == [hashlib.sha256(content).digest() for content in contents]
        path = "/api/v1/namespaces/ml/pods/head/portforward"
        assert set(forwarded.fake.seen) == {path} and forwarded.problems == []


@conversation
async def test_a_slow_reader_slows_the_pod_down(folder: Path) -> None:
    """Otherwise the memory of this process would hold whatever the pod sends."""
    sent = 0

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while True:
            writer.write(bytes(65536))
            await writer.drain()
            sent += 65536

    async with forwarding(folder, flood) as forwarded, forwarded.forward.listening(RAY) as port:
        with socket.create_connection(("127.0.0.1", port)):
            await asyncio.sleep(1.0)
            before = sent
            await asyncio.sleep(0.5)
            assert 0 < before == sent < 64 * MEGABYTE


@conversation
async def test_the_end_of_either_side_ends_the_connection(folder: Path) -> None:
    open_in_pod = 0

    async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_in_pod
        open_in_pod += 1
        writer.write(b"hello")
        await reader.read()
        open_in_pod -= 1
        writer.close()

    async def bye(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    async with forwarding(folder, bye) as forwarded, forwarded.forward.listening(RAY) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await asyncio.wait_for(reader.read(), 10) == b"bye"
        writer.close()
    async with forwarding(folder, hello) as forwarded, forwarded.forward.listening(RAY) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read(5) == b"hello"
        assert open_in_pod == 1
        writer.close()
        await until(lambda: open_in_pod == 0)


@conversation
async def test_the_same_number_is_used_where_it_is_free(folder: Path) -> None:
    async with forwarding(folder) as forwarded:
        wanted = free_port()
        async with forwarded.forward.listening(wanted) as port:
            assert port == wanted
            async with forwarded.forward.listening(wanted) as other:
                assert other != wanted
        # Only this machine can connect.
        with socket.create_server(("127.0.0.2", wanted)):
            pass


@conversation
async def test_a_port_without_a_listener_is_reported_once(folder: Path) -> None:
    async with forwarding(folder) as forwarded:
        await forwarded.forward.verify(RAY)
        with pytest.raises(PortError, match="connection refused"):
            await forwarded.forward.verify(8265)
        async with forwarded.forward.listening(8265) as port:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                assert await asyncio.wait_for(reader.read(), 10) == b""
                writer.close()
        expected = "the head does not accept connections to its port 8265 (connection refused)"
        assert forwarded.problems == [expected]


@pytest.mark.parametrize(
    ("status", "error"), [(403, ForbiddenError), (404, NotFoundError), (401, UnauthorizedError)]
)
def test_a_refused_handshake_says_why(status: int, error: type[Exception], tmp_path: Path) -> None:
    async def refuse(_: web.BaseRequest) -> web.Response:
        return web.Response(status=status)

    async def main() -> None:
        async with forwarding(tmp_path, answer=refuse) as forwarded:
            with pytest.raises(error) as raised:
                await forwarded.forward.verify(RAY)
            assert "mine" not in str(raised.value)

    talk(main())


@conversation
async def test_expired_credentials_are_renewed(folder: Path) -> None:
    refusals = 0

    async with forwarding(folder) as forwarded:
        serve = FakeKubelet.answer

        async def expired_at_first(request: web.BaseRequest) -> web.StreamResponse:
            nonlocal refusals
            if refusals < 3:
                refusals += 1
                return web.Response(status=401)
            return await serve(forwarded.fake, request)

        with pytest.raises(UnauthorizedError):
            refusals = -10
            forwarded.fake.answer = expired_at_first  # type: ignore[method-assign]  # a fault
            await forwarded.forward.verify(RAY)
        refusals = 2
        await forwarded.forward.verify(RAY)
