"""Where enrollment learns what it needs to know: a request that it saves, or one that it sends."""

from collections.abc import Callable, Iterator, Mapping
from itertools import product
from types import MappingProxyType

from prometheus_client.metrics_core import CounterMetricFamily, Metric

from webhook.metrics.registry import Label, LabeledCollector

_OBJECT = Label("object", ("token", "pod", "cluster"))
_SOURCE = Label("source", ("memory", "api"))


class EnrollmentLookups(LabeledCollector):
    """Counts lookups by object and source; `counts` has those that are not 0."""

    labels = MappingProxyType({"raywarden_enrollment_lookups": (_OBJECT, _SOURCE)})

    def __init__(self, counts: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        lookups = CounterMetricFamily(
            "raywarden_enrollment_lookups",
            "What enrollments needed to know: tokens, pods and clusters. `memory` includes tokens "
            "verified with the API server's keys; each of `api` is a request to the API server.",
            labels=("object", "source"),
        )
        counts = self._counts()
        for labels in product(_OBJECT.values, _SOURCE.values):
            lookups.add_metric(list(labels), counts.get((labels[0], labels[1]), 0))
        yield lookups
