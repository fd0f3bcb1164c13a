"""The API server's keys for service account tokens, kept up to date."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import structlog

from certs.identity import TokenIdentity
from policies.documents.untyped import as_str
from policies.injection.contract import AUDIENCE
from webhook.kube.api import KubeApi
from webhook.kube.token import Issuer, UndecidedTokenError, keys_in
from webhook.ports import UnavailableError

# Every service account may read these by the ClusterRole system:service-account-issuer-discovery.
# The second document lies elsewhere, too, but what the API server says needs no further trust.
DISCOVERY_PATH = "/.well-known/openid-configuration"
KEYS_PATH = "/openid/v1/jwks"
# The API server answers 406 to a client that accepts only other kinds of JSON (RFC 7517, 8.5.2).
_KEY_SET = "application/jwk-set+json"
# Both documents have one or two kilobytes.
_MAX_BYTES = 64 * 1024
# A key that the API server no longer uses is no longer used here after this time.
_PERIOD_SECONDS = 60.0
# Anyone can send tokens with unknown keys: read again at most this often.
_MIN_PERIOD_SECONDS = 10.0
# Keys that cannot be read again may be withdrawn.
_STALE_SECONDS = 300.0


class TokenKeys:
    """Verifies tokens while `run` reads the keys every minute, and soon after an unknown one."""

    def __init__(
        self,
        api: KubeApi,
        now: Callable[[], datetime],
        *,
        period_seconds: float = _PERIOD_SECONDS,
        min_period_seconds: float = _MIN_PERIOD_SECONDS,
        stale_seconds: float = _STALE_SECONDS,
    ) -> None:
        self._api = api
        self._now = now
        self._period_seconds = period_seconds
        self._min_period_seconds = min_period_seconds
        self._stale_seconds = stale_seconds
        self._issuer = Issuer("", {})
        self._read_at = 0.0
        self._wanted = asyncio.Event()
        self._problem: str | None = None
        self._log = structlog.get_logger()

    def caller(self, token: str) -> TokenIdentity:
        """The pod that a token is bound to; raises InvalidTokenError and UndecidedTokenError."""
        age = asyncio.get_running_loop().time() - self._read_at
        if not self._issuer.keys or age > self._stale_seconds:
            raise UndecidedTokenError("the keys are not known")
        try:
            return self._issuer.caller(token, AUDIENCE, self._now())
        except UndecidedTokenError:
            # Perhaps its key is new.
            self._wanted.set()
            raise

    async def run(self) -> None:
        """Read the keys until cancelled."""
        while True:
            try:
                await self.update()
            except UnavailableError as error:
                self._report(str(error))
            await asyncio.sleep(self._min_period_seconds)
            with suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds - self._min_period_seconds):
                    await self._wanted.wait()
            self._wanted.clear()

    async def update(self) -> None:
        """Read the keys once; raises UnavailableError, and then the last ones stay for a while."""
        asked_at = asyncio.get_running_loop().time()
        discovery = await self._api.get_path(DISCOVERY_PATH, most_bytes=_MAX_BYTES)
        document = await self._api.get_path(KEYS_PATH, most_bytes=_MAX_BYTES, accept=_KEY_SET)
        name, keys = as_str(discovery.get("issuer")), keys_in(document)
        if not name or not keys:
            raise UnavailableError(f"get {KEYS_PATH}: there is no usable key, or no issuer")
        self._issuer, self._read_at = Issuer(name, keys), asked_at
        self._report("")

    def _report(self, problem: str) -> None:
        """Log a change; a problem that lasts is logged once."""
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            self._log.warning("token keys not readable", reason=problem)
        else:
            self._log.info("token keys read", keys=len(self._issuer.keys))
