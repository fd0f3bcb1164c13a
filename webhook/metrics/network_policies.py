"""Metrics of the NetworkPolicies that RayWarden writes."""

from collections.abc import Iterator
from types import MappingProxyType

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from webhook.isolation.controller import IsolationController
from webhook.isolation.reports import CHANGES
from webhook.metrics.registry import Label, LabeledCollector
from webhook.ports import NotWrittenError

_CHANGES, _ERRORS = "raywarden_network_policy_changes", "raywarden_network_policy_errors"


class NetworkPolicyMetrics(LabeledCollector):
    """What a controller has done, and what is missing."""

    labels = MappingProxyType(
        {
            _CHANGES: (Label("change", CHANGES),),
            _ERRORS: (Label("reason", NotWrittenError.REASONS),),
        }
    )

    def __init__(self, controller: IsolationController) -> None:
        self._controller = controller

    def collect(self) -> Iterator[Metric]:
        reports = self._controller.reports
        changes = CounterMetricFamily(
            _CHANGES,
            "NetworkPolicies that this replica wrote for the first time, repaired or deleted.",
            labels=("change",),
        )
        for change, count in reports.changes.items():
            changes.add_metric([change], count)
        yield changes
        errors = CounterMetricFamily(
            _ERRORS,
            "Attempts to write or delete a NetworkPolicy that failed.",
            labels=("reason",),
        )
        for reason, count in reports.errors.items():
            errors.add_metric([reason], count)
        yield errors
        yield GaugeMetricFamily(
            "raywarden_ray_clusters_missing_network_policies",
            "RayClusters whose NetworkPolicies do not exist or are not up to date.",
            len(reports.missing),
        )
        yield GaugeMetricFamily(
            "raywarden_network_policy_leader",
            "1 if this replica is the one that writes NetworkPolicies, else 0.",
            int(self._controller.election.leading),
        )
