"""How far our clock is from the API server's: certificates say from when they are good, by the clock of who signs."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime

import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from certs.profile import BACKDATED
from webhook.metrics.registry import LookedUp

# Certificates are backdated by an hour: long before that is used up, somebody should know.
_WORTH_A_WORD = BACKDATED / 6


class ClockSkew(LookedUp):
    """By the `Date` of the API server's answers (RFC 9110, 6.6.1), which has whole seconds."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._skew = timedelta()
        self._told = False

    def record_date(self, date: str) -> None:
        """An answer has come with this `Date`; what is none, or has no time zone, tells nothing."""
        try:
            self._skew = self._now() - parsedate_to_datetime(date)
        except (ValueError, TypeError):
            return
        far = abs(self._skew) > _WORTH_A_WORD
        if far and not self._told:
            seconds = round(self._skew.total_seconds())
            structlog.get_logger().warning(
                "clock differs from the API server's", seconds_ahead=seconds
            )
        self._told = far

    def collect(self) -> Iterator[Metric]:
        text = "seconds our clock is ahead of the API server's (negative: behind)"
        yield GaugeMetricFamily("raywarden_clock_skew_seconds", text, self._skew.total_seconds())
