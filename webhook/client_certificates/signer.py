"""Takes up the requests of people as they arrive, within limits."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Protocol

from certs.cache import Authorities
from certs.client import ClusterName
from certs.identity import Domains
from webhook.client_certificates.decision import ClientRefusal
from webhook.client_certificates.signing import ClientCertificate, ClientDecision, ClientSigning
from webhook.enrollment.rate_limit import RateLimit
from webhook.ports import ClientRequest, ClientRequests, ConflictError, UnavailableError
from webhook.settings import Settings

# A person waits for the answer. Older requests were made while no signer ran; the controller
# manager deletes them after a day.
_MAX_AGE = timedelta(minutes=10)
# Those of one user that are waited for here; a person needs one.
_MAX_OPEN_OF_USER = 20
# Requests are small once read, and no team connects this often at once.
_MAX_OPEN = 1000
# Each takes up to eight calls to the API server, which a burst must not occupy.
_MAX_CONCURRENT = 8
# Another replica approves and then signs; take over if it has stopped in between.
_TAKE_OVER_SECONDS = 3.0
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.5, 15.0


class SignerObserver(Protocol):
    """What the signer reports."""

    def client_certificate_issued(
        self, request: ClientRequest, certificate: ClientCertificate
    ) -> None:
        """A certificate was issued to a person."""
        ...

    def client_certificate_refused(
        self, request: ClientRequest, cluster: ClusterName | None, refusal: ClientRefusal
    ) -> None:
        """A request got no certificate."""
        ...

    def client_request_delayed(self, request: ClientRequest, reason: str) -> None:
        """A request could not be answered yet."""
        ...

    def client_request_crashed(self, request: ClientRequest, error: Exception) -> None:
        """A request is left alone because of a defect."""
        ...


class ClientSigner:
    """Answers requests, several at once; `per_minute` limits those of one user.

    All replicas do this. The API server accepts the answer of the first.
    """

    def __init__(
        self,
        requests: ClientRequests,
        signing: ClientSigning,
        observer: SignerObserver,
        per_minute: int,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._requests = requests
        self._signing = signing
        self._observer = observer
        self._now = now
        self._limit = RateLimit(per_minute, 60, clock)
        self._places = asyncio.Semaphore(_MAX_CONCURRENT)
        self._offered = asyncio.Queue[ClientRequest]()
        # The users of the requests that are waiting or being answered, by uid.
        self._open: dict[str, str] = {}

    async def run(self, wait_ready: Callable[[], Awaitable[None]]) -> None:
        """Answer requests until cancelled, as soon as `wait_ready` returns."""
        await wait_ready()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._requests.follow(self._offer))
            while True:
                group.create_task(self._take(await self._offered.get()))

    def _offer(self, request: ClientRequest) -> None:
        """Take a request up, unless it is old, known or one too many.

        Those are offered again with the next list.
        """
        user = request.requester.name
        if request.uid in self._open or self._is_old(request) or len(self._open) >= _MAX_OPEN:
            return
        if Counter(self._open.values())[user] >= _MAX_OPEN_OF_USER:
            return
        self._open[request.uid] = user
        self._offered.put_nowait(request)

    async def _take(self, request: ClientRequest) -> None:
        try:
            await self._answer_in_time(request)
        # Anyone who may create requests chooses what is in one: it must not stop the server.
        except Exception as error:
            self._observer.client_request_crashed(request, error)
        finally:
            self._open.pop(request.uid, None)

    async def _answer_in_time(self, request: ClientRequest) -> None:
        user, pause = request.requester.name, _FIRST_PAUSE_SECONDS
        if request.approved:
            await asyncio.sleep(_TAKE_OVER_SECONDS)
        while seconds := self._limit.wait(user):
            await asyncio.sleep(seconds)
        self._limit.spend(user)
        while not self._is_old(request):
            try:
                async with self._places:
                    current = await self._requests.read(request)
                    if current is None or current.decided:
                        return
                    if current.approved == request.approved:
                        await self._report(current, await self._signing.answer(current))
                        return
                # Another replica has approved it, and is about to sign.
                request, pause = current, _TAKE_OVER_SECONDS
            except ConflictError:
                pause = _TAKE_OVER_SECONDS
            except UnavailableError as error:
                self._observer.client_request_delayed(request, str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)

    async def _report(self, request: ClientRequest, decision: ClientDecision) -> None:
        certificate, refusal = decision.certificate, decision.refusal
        if refusal:
            self._observer.client_certificate_refused(request, decision.cluster, refusal)
        if certificate is None:
            return
        self._observer.client_certificate_issued(request, certificate)
        try:
            await self._requests.record(request, certificate.cluster, _note(request, certificate))
        except UnavailableError as error:
            self._observer.client_request_delayed(request, f"the Event: {error}")

    def _is_old(self, request: ClientRequest) -> bool:
        return self._now() - request.created > _MAX_AGE


def client_signer(
    settings: Settings,
    requests: ClientRequests,
    authorities: Callable[[], Authorities],
    domains: Domains,
    observer: SignerObserver,
    now: Callable[[], datetime],
    clock: Callable[[], float],
    new_serial: Callable[[], int],
) -> ClientSigner:
    """A signer with the limits of the settings."""
    longest = timedelta(hours=settings.client_certificate_hours)
    signing = ClientSigning(requests, authorities, domains, longest, now, new_serial)
    per_minute = settings.client_certificates_per_minute
    return ClientSigner(requests, signing, observer, per_minute, now, clock)


def _note(request: ClientRequest, certificate: ClientCertificate) -> str:
    expiry = f"{certificate.not_after:%F %T} UTC"
    return (
        f"{request.requester.name} got a client certificate of this cluster until {expiry} "
        f"(serial {certificate.serial:x}, request {request.name})"
    )
