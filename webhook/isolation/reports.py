"""What people see of the written NetworkPolicies: log lines, Events and figures for metrics."""

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from policies.documents.untyped import clipped
from policies.network.managed import ManagedCluster
from webhook.isolation.lease import micro_time
from webhook.ports import ClusterKey, NotWrittenError, PolicyWriter

CHANGES = ("written", "repaired", "deleted")
# One Event a cluster and reason in this time, and so many of all clusters a minute.
_EVENT_SECONDS = 300.0
_EVENTS_A_MINUTE = 30
# A note is at most a kilobyte (events.k8s.io/v1).
_LONGEST_NOTE = 900


class Reports:
    """Counts changes and errors, and reports each problem once.

    `clock` gives seconds and never goes back.
    """

    def __init__(
        self,
        writer: PolicyWriter,
        identity: str,
        clock: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self.changes = dict.fromkeys(CHANGES, 0)
        self.errors = dict.fromkeys(NotWrittenError.REASONS, 0)
        # The clusters that need policies which do not stand.
        self.missing: set[ClusterKey] = set()
        self._writer = writer
        self._identity = identity
        self._clock = clock
        self._now = now
        self._problems: dict[ClusterKey, NotWrittenError] = {}
        # How many clusters have a problem of each reason.
        self._reasons = Counter[str]()
        # By uid and reason: the Event, and when it was last written.
        self._events: dict[tuple[str, str], tuple[dict[str, Any], float]] = {}
        self._written_at = deque[float](maxlen=_EVENTS_A_MINUTE)
        self._log = structlog.get_logger()

    def changed(self, change: str, namespace: str, policy: str) -> None:
        """A policy was written, repaired or deleted."""
        self.changes[change] += 1
        self._log.info("network policy changed", change=change, namespace=namespace, policy=policy)

    def examined(self, key: ClusterKey, missing: bool) -> None:
        """A cluster was examined; `missing` is whether policies must be written."""
        if missing:
            self.missing.add(key)
        else:
            self.missing.discard(key)

    def succeeded(self, key: ClusterKey) -> None:
        """Nothing of a cluster failed."""
        problem = self._problems.pop(key, None)
        if problem:
            self._reasons[problem.reason] -= 1

    def problem_of(self, key: ClusterKey) -> str:
        """Why policies of a cluster could not be written; empty if they could be."""
        problem = self._problems.get(key)
        return str(problem) if problem else ""

    async def failed(
        self, key: ClusterKey, cluster: ManagedCluster | None, error: NotWrittenError
    ) -> None:
        """Something could not be written."""
        self.errors[error.reason] += 1
        # Without a right, or without an API server, all clusters have the same problem.
        is_known = self._reasons[error.reason] > 0 and error.reason != "refused"
        repeated = self.problem_of(key) == str(error)
        self.succeeded(key)
        self._problems[key] = error
        self._reasons[error.reason] += 1
        if not is_known and not repeated and error.reason != "conflict":
            namespace, name = key
            self._log.error(
                "network policy not written",
                namespace=namespace,
                cluster=name,
                error=error.reason,
                reason=str(error),
            )
        if cluster and error.reason in ("forbidden", "refused"):
            await self._record(cluster, error)

    async def _record(self, cluster: ManagedCluster, error: NotWrittenError) -> None:
        now, key = self._clock(), (cluster.uid, error.reason)
        event, written_at = self._events.get(key, (None, 0.0))
        if event and now - written_at < _EVENT_SECONDS:
            return
        if len(self._written_at) == _EVENTS_A_MINUTE and now - self._written_at[0] < 60:
            return
        self._written_at.append(now)
        event = self._again(event) if event else self._event(cluster, error)
        self._events = {known: kept for known, kept in self._events.items() if now - kept[1] < 3600}
        self._events[key] = (event, now)
        try:
            await self._writer.record(event)
        except NotWrittenError as failure:
            self._log.warning("event not written", reason=str(failure))

    def _again(self, event: Mapping[str, Any]) -> dict[str, Any]:
        series = event.get("series")
        count = series["count"] + 1 if series else 2
        return {
            **event,
            "series": {"count": count, "lastObservedTime": micro_time(self._now())},
        }

    def _event(self, cluster: ManagedCluster, error: NotWrittenError) -> dict[str, Any]:
        # Other replicas have Events of their own: an Event's time cannot be changed.
        parts = "/".join((cluster.uid, error.reason, self._identity, micro_time(self._now())))
        number = hashlib.sha256(parts.encode()).hexdigest()[:16]
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": f"{cluster.name}.{number}", "namespace": cluster.namespace},
            "eventTime": micro_time(self._now()),
            "reportingController": "raywarden.io/network-policies",
            "reportingInstance": self._identity[:128],
            "action": "WriteNetworkPolicies",
            "reason": "NetworkPoliciesNotWritten",
            "type": "Warning",
            "regarding": {
                "apiVersion": "ray.io/v1",
                "kind": "RayCluster",
                "namespace": cluster.namespace,
                "name": cluster.name,
                "uid": cluster.uid,
            },
            "note": clipped(
                f"RayWarden cannot write the NetworkPolicies of this cluster: {error}",
                _LONGEST_NOTE,
            ),
        }
