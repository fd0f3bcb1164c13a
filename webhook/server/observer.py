"""What an operator sees: metrics, and one JSON log line for every decision."""

import logging
import sys
from collections.abc import Callable
from functools import lru_cache

import orjson
import structlog

from certs.client import ClusterName
from certs.seed import Seed
from policies.documents.untyped import printable
from webhook.admission.reviewer import Decision
from webhook.admission.wire import AdmissionRequest
from webhook.client_certificates.decision import MAX_USER_NAME, ClientRefusal
from webhook.client_certificates.signing import ClientCertificate
from webhook.enrollment.rate_limit import RateLimit
from webhook.enrollment.signing import Issued
from webhook.enrollment.wire import Refusal
from webhook.metrics.registry import REVIEWED_KINDS, Metrics
from webhook.ports import ClientRequest

# More than one metric has: each rule in three actions, and each kind in each operation.
_MAX_SERIES = 1024

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)


class Observer:
    """Counts and logs decisions.

    It logs names and ids, and never any other part of an object: an object may hold secrets.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.metrics = metrics
        self.clock = clock
        self._log = structlog.get_logger()
        # `labels` takes a lock and converts each value: together more than the decision about a
        # small object. There is a bounded number of series.
        self._requests = lru_cache(_MAX_SERIES)(metrics.requests.labels)
        self._durations = lru_cache(_MAX_SERIES)(metrics.duration.labels)
        self._violations = lru_cache(_MAX_SERIES)(metrics.violations.labels)
        self._mutations = lru_cache(_MAX_SERIES)(metrics.mutations.labels)
        # Every refusal is counted, but a caller must not be able to fill the disk with log lines:
        # 30 lines a minute for each event and address.
        self._refusal_lines = RateLimit(30, 60, clock)

    def decided(
        self, webhook: str, request: AdmissionRequest, decision: Decision, seconds: float
    ) -> None:
        """An admission request was answered after `seconds`."""
        # The requester chooses the kind: only known ones become values of a metric's label.
        kind = request.kind.kind if request.kind.kind in REVIEWED_KINDS else "other"
        allowed = decision.response.allowed
        self._requests(webhook, kind, request.operation, str(allowed).lower()).inc()
        self._durations(webhook).observe(seconds)
        self._count_rules(decision)
        for failure in decision.failed:
            self.metrics.failures.labels(failure.member).inc()
            self._log.error(
                "rule or mutation failed", uid=request.uid, rule=failure.member, at=failure.at
            )
        self._log.info(
            "admission",
            webhook=webhook,
            uid=request.uid,
            operation=request.operation,
            kind=request.kind.kind,
            namespace=request.namespace,
            name=request.name,
            user=request.user_info.username,
            dry_run=bool(request.dry_run),
            allowed=allowed,
            denied=decision.denied,
            warned=decision.warned,
            exempted=decision.exempted,
            mutations=decision.mutations,
            failed=[failure.member for failure in decision.failed],
            milliseconds=round(seconds * 1000, 3),
        )

    def _count_rules(self, decision: Decision) -> None:
        violations = {
            "deny": decision.denied,
            "warn": decision.warned,
            "exempt": decision.exempted,
        }
        for action, rules in violations.items():
            for rule in rules:
                self._violations(rule, action).inc()
        for mutation in decision.mutations:
            self._mutations(mutation).inc()

    def issued(self, issued: Issued, seconds: float) -> None:
        """A certificate was issued after `seconds`."""
        self._count_enrollment("issued", seconds)
        identity = issued.identity
        self._log.info(
            "certificate issued",
            namespace=identity.cluster.namespace,
            pod=identity.pod,
            cluster=identity.cluster.name,
            role=identity.role,
            serial=f"{issued.serial:x}",
            not_after=issued.not_after.isoformat(),
            milliseconds=round(seconds * 1000, 3),
        )
        if issued.missing:
            self.metrics.open_starts.inc()
            self._log.warning(
                "pod starts without its NetworkPolicies",
                namespace=identity.cluster.namespace,
                pod=identity.pod,
                cluster=identity.cluster.name,
                missing=issued.missing,
            )

    def refused(self, refusal: Refusal, peer: str, seconds: float) -> None:
        """An enrollment from the address `peer` was refused after `seconds`."""
        self._count_enrollment(refusal.outcome, seconds)
        if refusal.outcome == "held":
            # Thousands of pods can wait, each with an address of its own: a limit for all of them.
            self._warn("enrollment held", "", peer=peer, reason=refusal.reason)
            return
        self._warn(
            "enrollment refused",
            peer,
            peer=peer,
            outcome=refusal.outcome,
            status=refusal.status,
            reason=refusal.reason,
        )

    def client_certificate_issued(
        self, request: ClientRequest, certificate: ClientCertificate
    ) -> None:
        """A certificate was issued to a person."""
        self.metrics.client_certificates.labels("issued").inc()
        self._log.info(
            "client certificate issued",
            user=_user(request),
            namespace=certificate.cluster.namespace,
            cluster=certificate.cluster.name,
            request=request.name,
            serial=f"{certificate.serial:x}",
            not_after=certificate.not_after.isoformat(),
        )

    def client_certificate_refused(
        self, request: ClientRequest, cluster: ClusterName | None, refusal: ClientRefusal
    ) -> None:
        """A person's request got no certificate."""
        self.metrics.client_certificates.labels(refusal.outcome).inc()
        self._log.warning(
            "client certificate refused",
            user=_user(request),
            cluster=str(cluster) if cluster else "",
            request=request.name,
            outcome=refusal.outcome,
            reason=refusal.reason,
        )

    def client_request_delayed(self, request: ClientRequest, reason: str) -> None:
        """A person's request could not be answered yet; it will be tried again."""
        self.metrics.client_certificates.labels("delayed").inc()
        user = _user(request)
        self._warn("client request delayed", user, user=user, reason=reason)

    def client_request_crashed(self, request: ClientRequest, error: Exception) -> None:
        """A person's request is left alone because of a defect of RayWarden."""
        self.metrics.client_certificates.labels("crashed").inc()
        self._log.error("client request crashed", request=request.name, at=type(error).__name__)

    def _warn(self, event: str, limited_by: str, **fields: object) -> None:
        """Log a warning, unless there were too many of this event and `limited_by`."""
        if not self._refusal_lines.wait((event, limited_by)):
            self._refusal_lines.spend((event, limited_by))
            self._log.warning(event, **fields)

    def _count_enrollment(self, outcome: str, seconds: float) -> None:
        self.metrics.enrollments.labels(outcome).inc()
        self.metrics.enrollment_duration.observe(seconds)

    def seed_adopted(self, seed: Seed) -> None:
        """A new version of the seed is in use."""
        retired = sum(generation.retired is not None for generation in seed.generations)
        self.metrics.generations.labels("retired").set(retired)
        self.metrics.generations.labels("signing").set(len(seed.generations) - retired)
        self._log.info("seed adopted", generations=list(seed.entries))

    def ca_bundle_written(self) -> None:
        """The CA of RayWarden's own ports was written into the webhook configurations."""
        self._log.info("caBundle written")

    def reconcile_failed(self, problem: str, repeated: bool) -> None:
        """The stored state could not be read or written; the last good state stays in use.

        A `repeated` failure is counted and not logged again.
        """
        self.metrics.reconcile_errors.inc()
        if not repeated:
            self._log.error("reconcile failed", reason=problem)

    def rejected(self, status: int, reason: str, peer: str) -> None:
        """A request from the address `peer` was rejected: not an AdmissionReview or enrollment."""
        self.metrics.rejected.labels(str(status)).inc()
        self._warn("request rejected", peer, peer=peer, status=status, reason=reason)


def _user(request: ClientRequest) -> str:
    return printable(request.requester.name, MAX_USER_NAME)


def set_up_logging(level: str) -> None:
    """Log JSON lines to standard output: RayWarden's own events, and those of its libraries."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[structlog.processors.format_exc_info, _json_line],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                lambda logger, method, event: _json_line(logger, method, event).decode(),
            ],
        )
    )
    # uvicorn warns about every request that is not HTTP, so anyone could fill the disk.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def _json_line(logger: object, method: str, event: structlog.typing.EventDict) -> bytes:
    """One step in place of one for the level, the time and the text: it runs for every decision."""
    event["level"] = method
    return orjson.dumps(_stamp(None, method, event), default=str)
