"""How far this replica's clock is from the API server's.

A certificate is valid from a time that its signer's clock gives. If that clock is fast, other
machines reject the certificate as not yet valid.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from certs.profile import BACKDATED
from webhook.metrics.registry import LabeledCollector

# Certificates are backdated by an hour, which tolerates a fast clock. Warn after ten minutes, long
# before that tolerance is used up.
_WARNING_THRESHOLD = BACKDATED / 6


class ClockSkew(LabeledCollector):
    """Compares with the `Date` header of the API server's answers, in seconds (RFC 9110, 6.6.1)."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._skew = timedelta()
        self._warned = False

    def record_date(self, date: str) -> None:
        """Record the `Date` header of an answer; one without a date or time zone is ignored."""
        try:
            self._skew = self._now() - parsedate_to_datetime(date)
        except (ValueError, TypeError):
            return
        is_large = abs(self._skew) > _WARNING_THRESHOLD
        if is_large and not self._warned:
            seconds = round(self._skew.total_seconds())
            structlog.get_logger().warning("clock skew", seconds_ahead=seconds)
        self._warned = is_large

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "raywarden_clock_skew_seconds",
            "Seconds that this replica's clock is ahead of the API server's; negative if behind.",
            self._skew.total_seconds(),
        )
