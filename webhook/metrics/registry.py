"""Every metric: its name, its description, and the values that its labels can have."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from policies.cluster import related_object
from policies.ray import workload
from policies.registry import MUTATION_IDS, RULE_IDS
from webhook import __version__
from webhook.ca.trust import Trust

# A label must not take values that users choose, or they could create series without end: all
# other kinds are counted as "other".
REVIEWED_KINDS = workload.WORKLOAD_KINDS | related_object.RELATED_KINDS
# In seconds. The API server waits ten at most for a webhook, and a pod as long for a certificate.
_BUCKETS = (
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
)
_OUTCOMES = (
    "issued",
    "unauthenticated",
    "forbidden",
    "bad_csr",
    "bad_request",
    "rate_limited",
    "retry_later",
    "held",
    "unavailable",
)
_CLIENT_OUTCOMES = ("issued", "denied", "failed", "delayed", "crashed")
_STATUSES = ("400", "404", "405", "408", "413", "415", "429", "500", "503")
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT")

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the values it can have.

    `description` stands in the reference for a list of values that is too long or not all known.
    """

    name: str
    values: tuple[str, ...]
    description: str = ""


_WEBHOOK = Label("webhook", ("mutate", "validate"))
_RULE = Label(
    "rule",
    (*RULE_IDS, "size"),
    "the id of a rule, `size` (the object is too large to evaluate), or an `own-...` rule of yours",
)


class LabeledCollector(Collector):
    """A collector that computes its metrics when they are scraped.

    `labels` declares the labels of each of its metric families, by the family's name.
    """

    labels: Mapping[str, tuple[Label, ...]] = MappingProxyType({})


class Metrics:
    """Every metric, with those of `collectors`; names follow the API server's admission metrics.

    `labels` has the labels of each metric family, by its name. Series with known labels exist from
    the start, at 0: `increase()` would miss the first event of a series that begins with it.
    """

    def __init__(self, *collectors: LabeledCollector) -> None:
        # Without this, every counter gets a second series with its time of creation, which nothing
        # uses.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no types
        self.registry = CollectorRegistry(auto_describe=True)
        self.labels: dict[str, tuple[Label, ...]] = {}
        self._declare_server()
        self._declare_admission()
        self._declare_enrollment()
        self._declare_reconciler()
        for collector in collectors:
            self.registry.register(collector)
            self.labels |= collector.labels
        ProcessCollector(registry=self.registry)

    def _declare_server(self) -> None:
        self.ready = self._gauge("ready", "1 if this replica accepts requests, else 0.")
        version = Label("version", (__version__,), "the version number")
        build = self._gauge("build_info", "Always 1; the label is the running version.", version)
        build.labels(__version__).set(1)
        port = Label("port", ("admission", "enrollment", "operations"))
        self.connections = self._gauge("connections", "Open connections.", port)
        self.rejected = self._counter(
            "rejected_requests",
            "Requests that were neither a valid AdmissionReview nor a valid enrollment.",
            Label("status", _STATUSES),
        )

    def _declare_admission(self) -> None:
        self.requests = self._counter(
            "admission_requests",
            "Answered AdmissionReviews.",
            _WEBHOOK,
            Label("kind", (*sorted(REVIEWED_KINDS), "other")),
            Label("operation", _OPERATIONS),
            Label("allowed", ("true", "false")),
            # Most of the combinations never occur.
            from_start=False,
        )
        self.duration = self._histogram(
            "admission_duration_seconds",
            "Seconds from an AdmissionReview that has been read to its encoded answer.",
            _WEBHOOK,
        )
        self.violations = self._counter(
            "rule_violations",
            "Objects that violated a rule, by the action taken.",
            _RULE,
            Label("action", ("deny", "warn", "exempt")),
        )
        self.mutations = self._counter(
            "mutations", "Objects that a mutation changed.", Label("mutation", MUTATION_IDS)
        )
        self.failures = self._counter(
            "rule_failures",
            "Exceptions in rules and mutations; each is a defect of RayWarden.",
            Label("rule", (*RULE_IDS, *MUTATION_IDS), "the id of a rule or mutation"),
        )

    def _declare_enrollment(self) -> None:
        self.enrollments = self._counter(
            "enrollments", "Answered enrollments.", Label("outcome", _OUTCOMES)
        )
        self.enrollment_duration = self._histogram(
            "enrollment_duration_seconds",
            "Seconds from an enrollment request to its answer, "
            "including the wait for the pod's address and its NetworkPolicies.",
        )
        self.open_starts = self._counter(
            "open_pod_starts",
            "Certificates for pods whose NetworkPolicies were missing (`whenMissing: start`).",
        )

        self.client_certificates = self._counter(
            "client_certificates",
            "People's requests for a certificate, by outcome; delayed ones are tried again.",
            Label("outcome", _CLIENT_OUTCOMES),
        )

    def _declare_reconciler(self) -> None:
        self.generations = self._gauge(
            "seed_generations",
            "Generations of the seed in use.",
            Label("state", ("signing", "retired")),
        )
        self.reconcile_errors = self._counter(
            "reconcile_errors",
            "Failed attempts to reconcile the seed, the serving certificate or the caBundle.",
        )

    def _counter(self, name: str, text: str, *labels: Label, from_start: bool = True) -> Counter:
        label_names = [label.name for label in labels]
        counter = Counter(self._declared(name, labels), text, label_names, registry=self.registry)
        return _with_series(counter, labels) if from_start else counter

    def _gauge(self, name: str, text: str, *labels: Label) -> Gauge:
        label_names = [label.name for label in labels]
        gauge = Gauge(self._declared(name, labels), text, label_names, registry=self.registry)
        return _with_series(gauge, labels)

    def _histogram(self, name: str, text: str, *labels: Label) -> Histogram:
        label_names = [label.name for label in labels]
        full_name = self._declared(name, labels)
        histogram = Histogram(
            full_name, text, label_names, buckets=_BUCKETS, registry=self.registry
        )
        return _with_series(histogram, labels)

    def _declared(self, name: str, labels: tuple[Label, ...]) -> str:
        full_name = f"raywarden_{name}"
        self.labels[full_name] = labels
        return full_name


class CaCache(LabeledCollector):
    """The cache of cluster CAs; its counters restart at 0 when the seed changes."""

    labels = MappingProxyType(
        {"raywarden_ca_cache_lookups": (Label("result", ("hit", "miss")),)},
    )

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def collect(self) -> Iterator[Metric]:
        hits = misses = evictions = size = 0
        if self._trust.seed:
            cache = self._trust.authorities
            hits, misses, evictions, size = cache.hits, cache.misses, cache.evictions, len(cache)
        lookups = CounterMetricFamily(
            "raywarden_ca_cache_lookups", "Lookups of a cluster's CA.", labels=("result",)
        )
        lookups.add_metric(["hit"], hits)
        lookups.add_metric(["miss"], misses)
        yield lookups
        yield CounterMetricFamily(
            "raywarden_ca_cache_evictions", "CAs removed because the cache was full.", evictions
        )
        yield GaugeMetricFamily("raywarden_ca_cache_size", "CAs in the cache.", size)


class Watches(LabeledCollector):
    """Whether RayWarden's cache of each resource is up to date."""

    def __init__(
        self, resources: Iterable[str], up_to_date: Callable[[], Mapping[str, bool]]
    ) -> None:
        self.labels = {"raywarden_watch_up_to_date": (Label("resource", tuple(resources)),)}
        self._up_to_date = up_to_date

    def collect(self) -> Iterator[Metric]:
        watches = GaugeMetricFamily(
            "raywarden_watch_up_to_date",
            "1 if RayWarden's cache of a resource is up to date; 0 if it may be stale or is empty.",
            labels=("resource",),
        )
        for resource, up_to_date in self._up_to_date().items():
            watches.add_metric([resource], int(up_to_date))
        yield watches


def _with_series(metric: M, labels: tuple[Label, ...]) -> M:
    """The metric, with a series at 0 for each combination of label values."""
    if labels:
        for values in product(*(label.values for label in labels)):
            metric.labels(*values)
    return metric
