"""Every metric there is, in Prometheus' format: its name, its meaning, and the values its labels can have."""

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
from policies.registry import MUTATIONS, RULES
from webhook import __version__
from webhook.ca.trust import Trust

# Labels must not grow with what strangers send: other kinds are counted as one.
REVIEWED_KINDS = workload.WORKLOAD_KINDS | related_object.RELATED_KINDS
# The API server waits up to ten seconds for an admission, and a pod for a certificate as long.
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
    "issued", "unauthenticated", "forbidden", "bad_csr", "bad_request", "too_often", "not_yet", "unavailable",
)  # fmt: skip
_IDS = tuple(rule.id for rule in RULES)

M = TypeVar("M", Counter, Gauge, Histogram)


@dataclass(frozen=True, slots=True)
class Label:
    """A label and the values it can have. `said` is how the reference puts it, where more may come or they are many."""

    name: str
    values: tuple[str, ...]
    said: str = ""


_WEBHOOK = Label("webhook", ("mutate", "validate"))
_RULE = Label(
    "rule",
    (*_IDS, "size"),
    "the id of a rule, `size` (too large to be judged), or an `own-...` of yours",
)


class LookedUp(Collector):
    """Metrics that are looked up when they are asked for; `labels` has those of each family, by its name."""

    labels: Mapping[str, tuple[Label, ...]] = MappingProxyType({})


class Metrics:
    """Every metric there is, with those that `collectors` look up; names follow the API server's own for admission.

    `labels` has those of each family, by its name. Series whose labels are known are there from the start, at 0: of one
    that begins with its first event, `increase()` does not see that event.
    """

    def __init__(self, *collectors: LookedUp) -> None:
        # A second series for every one, with its time of birth, is no use to anybody who has the first.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types for it
        self.registry = CollectorRegistry(auto_describe=True)
        self.labels: dict[str, tuple[Label, ...]] = {}
        self.ready = self._gauge("ready", "1 when this replica takes requests")
        build = self._gauge(
            "build_info",
            "1, with the version that runs",
            Label("version", (__version__,), "its number"),
        )
        build.labels(__version__).set(1)
        self.connections = self._gauge(
            "connections",
            "open connections",
            Label("port", ("admission", "enrollment", "operations")),
        )
        self._declare_admission()
        self._declare_enrollment()
        self.generations = self._gauge(
            "seed_generations",
            "generations of the seed in use",
            Label("state", ("signing", "retired")),
        )
        self.reconcile_errors = self._counter(
            "reconcile_errors",
            "times the seed, our certificate or the caBundle could not be kept in step",
        )
        for collector in collectors:
            self.registry.register(collector)
            self.labels |= collector.labels
        ProcessCollector(registry=self.registry)

    def _declare_admission(self) -> None:
        allowed, operation = (
            Label("allowed", ("true", "false")),
            ("CREATE", "UPDATE", "DELETE", "CONNECT"),
        )
        kind = Label("kind", (*sorted(REVIEWED_KINDS), "other"))
        # Most combinations of these are never met.
        self.requests = self._counter(
            "admission_requests", "AdmissionReviews answered", _WEBHOOK, kind, Label("operation", operation), allowed,
            from_start=False,
        )  # fmt: skip
        text = "seconds from a read AdmissionReview to its encoded answer"
        self.duration = self._histogram("admission_duration_seconds", text, _WEBHOOK)
        self.violations = self._counter(
            "rule_violations", "objects that violated a rule, by what was done about it", _RULE,
            Label("action", ("deny", "warn", "exempt")),
        )  # fmt: skip
        mutations = tuple(mutation.id for mutation in MUTATIONS)
        self.mutations = self._counter(
            "mutations", "objects each mutation changed", Label("mutation", mutations)
        )
        failing = Label("rule", (*_IDS, *mutations), "the id of a rule or mutation")
        self.failures = self._counter(
            "rule_failures", "rules and mutations that raised on an object", failing
        )
        statuses = tuple(map(str, (400, 404, 405, 408, 413, 415, 500, 503)))
        self.rejected = self._counter(
            "rejected_requests", "requests that were neither AdmissionReview nor enrollment, by HTTP status",
            Label("status", statuses),
        )  # fmt: skip

    def _declare_enrollment(self) -> None:
        self.enrollments = self._counter(
            "enrollments", "enrollments answered", Label("outcome", _OUTCOMES)
        )
        self.enrollment_duration = self._histogram(
            "enrollment_duration_seconds", "seconds from a request for a certificate to its answer"
        )

    def _counter(self, name: str, text: str, *labels: Label, from_start: bool = True) -> Counter:
        made = Counter(
            self._named(name, labels), text, [one.name for one in labels], registry=self.registry
        )
        return _with_series(made, labels) if from_start else made

    def _gauge(self, name: str, text: str, *labels: Label) -> Gauge:
        made = Gauge(
            self._named(name, labels), text, [one.name for one in labels], registry=self.registry
        )
        return _with_series(made, labels)

    def _histogram(self, name: str, text: str, *labels: Label) -> Histogram:
        names = [one.name for one in labels]
        made = Histogram(
            self._named(name, labels), text, names, buckets=_BUCKETS, registry=self.registry
        )
        return _with_series(made, labels)

    def _named(self, name: str, labels: tuple[Label, ...]) -> str:
        self.labels[full := f"raywarden_{name}"] = labels
        return full


class CaCache(LookedUp):
    """The cache of cluster CAs; it begins anew with another seed."""

    labels = MappingProxyType({"raywarden_ca_cache_lookups": (Label("found", ("true", "false")),)})

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def collect(self) -> Iterator[Metric]:
        cache = self._trust.authorities if self._trust.seed else None
        lookups = CounterMetricFamily(
            "raywarden_ca_cache_lookups", "look-ups of a cluster's CA", labels=("found",)
        )
        lookups.add_metric(["true"], cache.hits if cache else 0)
        lookups.add_metric(["false"], cache.misses if cache else 0)
        yield lookups
        evictions = cache.evictions if cache else 0
        yield CounterMetricFamily(
            "raywarden_ca_cache_evictions", "CAs dropped for want of room", evictions
        )
        yield GaugeMetricFamily(
            "raywarden_ca_cache_size", "CAs in memory", len(cache) if cache else 0
        )


class Watches(LookedUp):
    """Whether what is remembered of the cluster, `current` by resource, is what there is now."""

    def __init__(self, resources: Iterable[str], current: Callable[[], Mapping[str, bool]]) -> None:
        self.labels = {"raywarden_watch_current": (Label("resource", tuple(resources)),)}
        self._current = current

    def collect(self) -> Iterator[Metric]:
        text = (
            "1 while a resource is followed, 0 while what is known of it may be old, or nothing is"
        )
        watches = GaugeMetricFamily("raywarden_watch_current", text, labels=("resource",))
        for resource, current in self._current().items():
            watches.add_metric([resource], int(current))
        yield watches


def _with_series(metric: M, labels: tuple[Label, ...]) -> M:
    """With each of its series, at 0."""
    for values in product(*(one.values for one in labels)) if labels else ():
        metric.labels(*values)
    return metric
