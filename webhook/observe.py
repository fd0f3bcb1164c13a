"""What an operator sees: metrics in Prometheus' format, and one JSON line for every decision."""

import logging
import sys
from collections.abc import Callable, Iterator

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from certs.seed import Seed
from policies import neighbour, workload
from webhook.enrolment import Refusal
from webhook.limits import RateLimit
from webhook.review import Decision
from webhook.signing import Issued
from webhook.trust import Trust
from webhook.wire import AdmissionRequest

# Labels must not grow with what strangers send: other kinds are counted as one.
_KINDS = workload.KINDS | neighbour.KINDS
_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Every metric there is, with those that `collectors` look up; names follow the API server's own for admission."""

    def __init__(self, *collectors: Collector) -> None:
        # A second series for every one, with its time of birth, is no use to anybody who has the first.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for it
        self.registry = CollectorRegistry(auto_describe=True)
        for collector in collectors:
            self.registry.register(collector)
        self.requests = self._counter(
            "admission_requests", "AdmissionReviews answered", "webhook", "kind", "operation", "allowed"
        )
        self.duration = Histogram(
            "raywarden_admission_duration_seconds",
            "time from a read request to its encoded answer",
            ("webhook",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.violations = self._counter(
            "rule_violations", "objects that violated a rule, by what was done about it", "rule", "action"
        )
        self.mutations = self._counter("mutations", "objects each mutation changed", "mutation")
        self.failures = self._counter("rule_failures", "rules and mutations that raised on an object", "rule")
        self.rejected = self._counter(
            "rejected_requests", "requests that were neither AdmissionReview nor enrolment, by HTTP status", "status"
        )
        self.enrolments = self._counter("enrolments", "enrolments answered", "outcome")
        self.enrolment_duration = Histogram(
            "raywarden_enrolment_duration_seconds",
            "time from a request for a certificate to its answer",
            buckets=(*_BUCKETS, 2.5, 5.0, 10.0),
            registry=self.registry,
        )
        self.generations = Gauge(
            "raywarden_seed_generations", "generations of the seed in use", ("state",), registry=self.registry
        )
        self.upkeep_failures = self._counter("upkeep_failures", "problems met while keeping up with what is stored")
        self.ready = Gauge("raywarden_ready", "1 when this replica takes requests", registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"raywarden_{name}", text, labels, registry=self.registry)


class CaCache(Collector):
    """The cache of cluster CAs, read when it is asked for; it begins anew with another seed."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def collect(self) -> Iterator[Metric]:
        cache = self._trust.authorities if self._trust.seed else None
        lookups = CounterMetricFamily("raywarden_ca_cache_lookups", "look-ups of a cluster's CA", labels=("found",))
        lookups.add_metric(["true"], cache.hits if cache else 0)
        lookups.add_metric(["false"], cache.misses if cache else 0)
        yield lookups
        evictions = cache.evictions if cache else 0
        yield CounterMetricFamily("raywarden_ca_cache_evictions", "CAs dropped for want of room", evictions)
        yield GaugeMetricFamily("raywarden_ca_cache_size", "CAs in memory", len(cache) if cache else 0)


class Observer:
    """Counts and logs decisions; nothing of an object's body ever gets here."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self.metrics = metrics
        self.clock = clock
        self._log = structlog.get_logger()
        # Everything is counted; but who is refused often must not fill the disk with it.
        self._refusal_lines = RateLimit(30, 60, clock)

    def decided(self, webhook: str, request: AdmissionRequest, decision: Decision, seconds: float) -> None:
        """One admission request was answered after `seconds`."""
        kind = request.kind.kind if request.kind.kind in _KINDS else "other"
        allowed = decision.response.allowed
        self.metrics.requests.labels(webhook, kind, request.operation, str(allowed).lower()).inc()
        self.metrics.duration.labels(webhook).observe(seconds)
        for action, rules in (("deny", decision.denied), ("warn", decision.warned), ("exempt", decision.exempted)):
            for rule in rules:
                self.metrics.violations.labels(rule, action).inc()
        for mutation in decision.mutations:
            self.metrics.mutations.labels(mutation).inc()
        for failure in decision.failed:
            self.metrics.failures.labels(failure.member).inc()
            self._log.error("a rule or mutation failed", uid=request.uid, rule=failure.member, at=failure.at)
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

    def issued(self, issued: Issued, seconds: float) -> None:
        """A certificate was signed after `seconds`."""
        self._answered("issued", seconds)
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

    def refused(self, refusal: Refusal, peer: str, seconds: float) -> None:
        """An enrolment from the address `peer` was refused after `seconds`."""
        self._answered(refusal.outcome, seconds)
        outcome, reason = refusal.outcome, refusal.reason
        self._warn("enrolment refused", peer, outcome=outcome, status=refusal.status, reason=reason)

    def _warn(self, event: str, peer: str, **fields: object) -> None:
        if not self._refusal_lines.wait((event, peer)):
            self._refusal_lines.spend((event, peer))
            self._log.warning(event, peer=peer, **fields)

    def _answered(self, outcome: str, seconds: float) -> None:
        self.metrics.enrolments.labels(outcome).inc()
        self.metrics.enrolment_duration.observe(seconds)

    def seed_adopted(self, seed: Seed) -> None:
        """Another seed is in use now."""
        retired = sum(generation.retired is not None for generation in seed.generations)
        self.metrics.generations.labels("retired").set(retired)
        self.metrics.generations.labels("signing").set(len(seed.generations) - retired)
        self._log.info("seed adopted", generations=list(seed.entries))

    def ca_bundle_written(self) -> None:
        """Our webhook configurations did not have our CA, and have it now."""
        self._log.info("caBundle written")

    def upkeep_failed(self, problem: str) -> None:
        """What is stored could not be followed; what was known stays in use."""
        self.metrics.upkeep_failures.inc()
        self._log.error("upkeep failed", reason=problem)

    def rejected(self, status: int, reason: str, peer: str) -> None:
        """A request from the address `peer` was turned away before it could be reviewed."""
        self.metrics.rejected.labels(str(status)).inc()
        self._warn("rejected request", peer, status=status, reason=reason)


def set_up_logging(level: str) -> None:
    """JSON lines on standard output, for our own events and for those of the libraries we run on."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(
                    serializer=lambda event, **options: _dumps(event, **options).decode()
                ),
            ],
        )
    )
    # uvicorn warns of every request that is none, as often as somebody likes to send one.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)


def _dumps(event: object, **options: object) -> bytes:
    return orjson.dumps(event, default=str)
