"""The enrollment port over HTTPS, in a thread, with NetworkPolicies that a test scripts."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from certs.cache import Authorities
from certs.identity import Domains
from certs.profile import CertificateProfile
from policies.configured import NetworkIsolation
from tests.support import live_objects
from webhook.ca.bundles import Bundles
from webhook.ca.serving_certificate import DerivedCertificate
from webhook.ca.trust import Trust
from webhook.enrollment.signing import Signing
from webhook.metrics.registry import Metrics
from webhook.ports import LiveObjects
from webhook.server.observer import Observer
from webhook.server.protocol import BoundedLoop
from webhook.server.routes import enrollment_app
from webhook.server.server import open_listener
from webhook.settings import Settings

# The clock of the server runs so much faster than that of the test.
_SPEED = 50


class ScriptedPolicies:
    """`ports.NetworkPolicies`: each look at a RayCluster gets the next reply, later ones the last.

    `looks` has the cluster of each look.
    """

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.looks: list[tuple[str, str, str]] = []

    def missing(self, namespace: str, cluster: str, uid: str) -> str:
        self.looks.append((namespace, cluster, uid))
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@dataclass(frozen=True)
class EnrollmentServer:
    """A running enrollment port: its URL, the CA of its certificate (PEM), and its metrics."""

    url: str
    ca: str
    metrics: Metrics


@contextmanager
def enrollment_server(
    live: LiveObjects, policies: ScriptedPolicies, isolation: Callable[[], NetworkIsolation]
) -> Iterator[EnrollmentServer]:
    """Serve enrollment for the pods of `live` until the block ends."""
    settings = Settings(host="127.0.0.1", enrollment_port=0)
    trust, metrics = Trust(None, Domains(), 1), Metrics()
    trust.adopt(live_objects.SEED)
    certificate = DerivedCertificate(trust, ("localhost",))
    certificate.keep(datetime.now(UTC))
    authorities = Authorities(live_objects.SEED)
    signing = Signing(
        live,
        policies,
        isolation,
        lambda: authorities,
        Domains(),
        CertificateProfile(),
        settings,
        lambda: datetime.now(UTC),
        lambda: time.monotonic() * _SPEED,
        lambda: 7,
    )
    bundles, observer = Bundles(live, lambda: authorities), Observer(metrics, time.perf_counter)
    app = enrollment_app(signing, bundles, observer, settings)
    listener = open_listener("enrollment", app, settings, certificate.context, metrics)

    runner = asyncio.Runner(loop_factory=BoundedLoop)
    loop = runner.get_loop()

    def serve() -> None:
        with runner:
            runner.run(listener.serve_until_exit())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        url = f"https://localhost:{listener.port}"
        yield EnrollmentServer(url, trust.serving_ca.decode(), metrics)
    finally:
        loop.call_soon_threadsafe(listener.stop)
        thread.join()
