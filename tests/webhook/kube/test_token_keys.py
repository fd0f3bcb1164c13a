"""The API server's keys: read, rotated, withdrawn, and answered by something else."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from tests.support import live_objects
from tests.support.fake_kube_api import Answer, FakeKubeApi, answers_with, fails, hangs, hangs_up
from tests.support.kube_conversation import conversation, problem, until
from tests.support.pod_tokens import DISCOVERY, ISSUER, JWKS, TokenSigner, key_set, published
from webhook.kube.api import KubeApi
from webhook.kube.live import KubeLive
from webhook.kube.token import InvalidTokenError, UndecidedTokenError
from webhook.kube.token_keys import TokenKeys

FIRST, SECOND = TokenSigner("ES256"), TokenSigner("RS256")
POD, OTHER = live_objects.pod(), live_objects.pod("other", uid="other-uid")
NOW = live_objects.NOW.timestamp()


def keys_of(api: KubeApi, **seconds: float) -> TokenKeys:
    return TokenKeys(api, lambda: live_objects.NOW, **seconds)


def reviews(fake: FakeKubeApi) -> int:
    return len(fake.requests("POST", "tokenreviews"))


def reads(fake: FakeKubeApi) -> int:
    return [request.raw_path for request in fake.seen].count(JWKS)


@asynccontextmanager
async def running(keys: TokenKeys) -> AsyncIterator[None]:
    task = asyncio.create_task(keys.run())
    try:
        yield
        assert not task.done()
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@conversation
async def test_a_token_with_a_published_key_is_not_reviewed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.paths = dict(published(FIRST))
    keys = keys_of(api)
    live = KubeLive(api, keys=keys)
    await keys.update()
    header, claims, signature = FIRST.token(POD, NOW).split(".")
    for _ in range(3):
        # In turn, so that a verdict that is kept for the wrong token would be seen.
        assert await live.caller(FIRST.token(POD, NOW)) == live_objects.caller(POD)
        assert await live.caller(f"{header}.{claims}.{signature[:-6]}AAAAAA") is None
        assert await live.caller(FIRST.token(OTHER, NOW)) == live_objects.caller(OTHER)
        assert await live.caller(FIRST.token(POD, NOW - 700)) is None
        assert await live.caller(FIRST.token(POD, NOW, aud=["vault"])) is None
    assert reviews(fake) == 0
    assert live.lookups == {("token", "memory"): 15}


@conversation
async def test_a_token_with_an_unknown_key_is_reviewed_and_the_key_is_read_soon(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.paths = dict(published(FIRST))
    token = SECOND.token(POD, NOW)
    status = {
        "authenticated": True,
        "audiences": ["raywarden.io"],
        "user": {
            "username": "system:serviceaccount:team-a:ray",
            "extra": {
                "authentication.kubernetes.io/pod-name": [POD["metadata"]["name"]],
                "authentication.kubernetes.io/pod-uid": [POD["metadata"]["uid"]],
            },
        },
    }
    fake.tokens = {token: status}
    keys = keys_of(api, min_period_seconds=0.05)
    live = KubeLive(api, keys=keys)
    async with running(keys):
        await until(lambda: reads(fake) == 1)
        fake.paths[JWKS] = key_set(FIRST, SECOND)
        assert await live.caller(token) == live_objects.caller(POD)
        assert reviews(fake) == 1
        await until(lambda: reads(fake) == 2)
        await until(lambda: _verifies(keys, token))
        assert await live.caller(token) == live_objects.caller(POD)
        assert reviews(fake) == 1
        # The first key is withdrawn.
        fake.paths[JWKS] = key_set(SECOND)
        with suppress(UndecidedTokenError):
            keys.caller(TokenSigner("ES256").token(POD, NOW))
        await until(lambda: not _verifies(keys, FIRST.token(POD, NOW)))
        assert await live.caller(FIRST.token(POD, NOW)) is None
        assert reviews(fake) == 2


def _verifies(keys: TokenKeys, token: str) -> bool:
    try:
        keys.caller(token)
    except UndecidedTokenError:
        return False
    return True


@conversation
async def test_unknown_keys_cannot_cause_many_reads(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = dict(published(FIRST))
    keys = keys_of(api, min_period_seconds=0.2)
    stranger = SECOND.token(POD, NOW)
    async with running(keys):
        await until(lambda: reads(fake) == 1)
        for _ in range(50):
            with suppress(UndecidedTokenError):
                keys.caller(stranger)
            await asyncio.sleep(0.01)
        assert reads(fake) <= 5


async def _html(_request: web.BaseRequest) -> web.Response:
    return web.Response(text="<html>login</html>", content_type="text/html")


async def _huge(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b" " * 65_536)
    return response


@pytest.mark.parametrize(
    "fault",
    [
        _html,
        _huge,
        hangs_up,
        fails(403, 'User "x" cannot get path "/openid/v1/jwks"'),
        fails(404),
        fails(500),
        answers_with(b""),
        answers_with(b"[]"),
        answers_with(b"{"),
        answers_with(b"[" * 5000),
        answers_with(b'{"keys": []}'),
        answers_with(b'{"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}'),
    ],
)
def test_an_answer_that_is_no_key_set_changes_nothing(fault: Answer, tmp_path: object) -> None:
    @conversation
    async def test(fake: FakeKubeApi, api: KubeApi) -> None:
        fake.paths = dict(published(FIRST))
        keys = keys_of(api)
        await keys.update()
        # The discovery document is read first. Reads are tried four times, each twice by aiohttp.
        fake.faults = [fake.serve, *[fault] * 8]
        error = str(await problem(keys.update()))
        assert "login" not in error and len(error) < 300
        assert keys.caller(FIRST.token(POD, NOW)) == live_objects.caller(POD)
        fake.paths[DISCOVERY] = {"issuer": ["https://attacker.example"]}
        fake.faults = []
        await problem(keys.update())
        assert keys.caller(FIRST.token(POD, NOW)) == live_objects.caller(POD)

    test(tmp_path)  # type: ignore[arg-type]  # pytest's folder


@conversation
async def test_an_answer_that_does_not_come_delays_nobody(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = dict(published(FIRST))
    keys = keys_of(api, min_period_seconds=0.01, period_seconds=0.02)
    await keys.update()
    fake.faults = [fake.serve, hangs]
    async with running(keys):
        await until(lambda: reads(fake) == 2)
        assert keys.caller(FIRST.token(POD, NOW)) == live_objects.caller(POD)


@conversation
async def test_without_keys_every_token_is_reviewed(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = {DISCOVERY: None, JWKS: None}
    keys = keys_of(api, min_period_seconds=0.01, period_seconds=0.02)
    live = KubeLive(api, keys=keys)
    async with running(keys):
        await until(lambda: len(fake.seen) > 3)
        assert await live.caller(FIRST.token(POD, NOW)) is None
        assert await live.caller("opaque") is None
        assert reviews(fake) == 2 and live.lookups == {("token", "api"): 2}
        fake.paths.update(published(FIRST))
        await until(lambda: _verifies(keys, FIRST.token(POD, NOW)))


@conversation
async def test_keys_that_cannot_be_read_again_are_not_used_for_long(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fake.paths = dict(published(FIRST))
    keys = keys_of(api, stale_seconds=0.2)
    await keys.update()
    token = FIRST.token(POD, NOW)
    assert keys.caller(token) == live_objects.caller(POD)
    fake.forbidden = {("get", JWKS)}
    await problem(keys.update())
    await until(lambda: not _verifies(keys, token))
    fake.forbidden = set()
    await keys.update()
    assert keys.caller(token) == live_objects.caller(POD)


@conversation
async def test_the_published_issuer_counts(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.paths = {**published(FIRST), DISCOVERY: {"issuer": "https://new.example"}}
    keys = keys_of(api)
    await keys.update()
    with pytest.raises(UndecidedTokenError):
        keys.caller(FIRST.token(POD, NOW, iss=ISSUER))
    token = FIRST.token(POD, NOW, iss="https://new.example")
    assert keys.caller(token) == live_objects.caller(POD)
    with pytest.raises(InvalidTokenError):
        keys.caller(FIRST.token(POD, NOW - 700, iss="https://new.example"))
