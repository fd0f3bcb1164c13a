"""The active policy: reloaded when its file changes; an invalid file leaves the last one active."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from types import MappingProxyType
from typing import Self

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from policies.config import Policy
from policies.network.isolation import ClusterIsolation
from webhook.metrics.registry import Label, LabeledCollector
from webhook.policy.file import parse_policy, read_policy
from webhook.settings import Settings, SetupError

_LOADED, _REJECTED = "loaded", "rejected"
_ACTIVE, _EXPIRED = "active", "expired"
# Long enough for an editor or script to finish a small write.
_SETTLE_SECONDS = 0.1


class PolicyWatch:
    """Compares the content of the file: modification times do not show that a ConfigMap changed.

    `read` returns the content of the file. `parse` makes a policy of it that can replace the active
    one, which is None at the start. Both raise SetupError, and so does the constructor: the server
    does not start with an invalid policy.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        parse: Callable[[bytes, Policy | None], Policy],
        today: Callable[[], date],
    ) -> None:
        self._read = read
        self._parse = parse
        self._today = today
        # The last content, valid or not, or the error message if the file could not be read.
        self._last_seen: bytes | str = read()
        self._reported: date | None = None
        self._log = structlog.get_logger()
        self.policy = parse(self._last_seen, None)
        # Called after each change of the policy.
        self.on_change: Callable[[], None] = lambda: None
        self.up_to_date = True
        self.reloads = {_LOADED: 0, _REJECTED: 0}

    @classmethod
    def of(cls, settings: Settings, today: Callable[[], date]) -> Self:
        """The policy file of the settings, or the default policy."""
        file = settings.policy_file

        def parse(content: bytes, running: Policy | None) -> Policy:
            policy = parse_policy(file, content, running)
            # RayWarden must not manage RayClusters whose NetworkPolicies it does not write.
            return policy if settings.write_network_policies else policy.without_isolation()

        return cls(partial(read_policy, file), parse, today)

    def isolation_of(self, namespace: str) -> ClusterIsolation:
        """What the active policy says for the RayClusters of a namespace."""
        return self.policy.network_isolation.of_namespace(namespace)

    async def run(self, period: float) -> None:
        """Check the file every `period` seconds until cancelled."""
        while True:
            await self.check()
            await asyncio.sleep(period)

    async def check(self) -> None:
        """Reload the file if it has changed, and report exemptions that have expired.

        Each change is logged and counted once.
        """
        try:
            content = await self._settled_content()
        except SetupError as error:
            self._reject(str(error), error)
        else:
            if content != self._last_seen:
                await self._load(content)
        self._report_expired_exemptions()

    async def _settled_content(self) -> bytes:
        """The content once two reads agree: an author may still be writing the file in place."""
        previous = self._last_seen
        # In a thread: the file system may be slow, and requests must not wait for it.
        while (content := await asyncio.to_thread(self._read)) != previous:
            previous = content
            await asyncio.sleep(_SETTLE_SECONDS)
        return content

    async def _load(self, content: bytes) -> None:
        try:
            policy = await asyncio.to_thread(self._parse, content, self.policy)
        except SetupError as error:
            self._reject(content, error)
            return
        self.policy = policy
        self._last_seen = content
        self.up_to_date = True
        self._reported = None
        self.reloads[_LOADED] += 1
        self._log.info("policy loaded")
        self.on_change()

    def _reject(self, seen: bytes | str, error: SetupError) -> None:
        if seen == self._last_seen:
            return
        self._last_seen = seen
        self.up_to_date = False
        self.reloads[_REJECTED] += 1
        self._log.error("policy rejected", problems=str(error).splitlines())

    def _report_expired_exemptions(self) -> None:
        """Log the expired exemptions for each new policy and on each new day."""
        today = self._today()
        if self._reported == today:
            return
        self._reported = today
        for number, exemption in self.policy.expired(today):
            self._log.warning(
                "exemption expired",
                exemption=number,
                reason=exemption.reason,
                until=str(exemption.until),
            )


class PolicyMetrics(LabeledCollector):
    """Metrics of the active policy, computed at each scrape: exemptions expire on their own."""

    labels = MappingProxyType(
        {
            "raywarden_policy_reloads": (Label("outcome", (_LOADED, _REJECTED)),),
            "raywarden_policy_exemptions": (Label("state", (_ACTIVE, _EXPIRED)),),
        }
    )

    def __init__(self, watch: PolicyWatch, today: Callable[[], date]) -> None:
        self._watch = watch
        self._today = today

    def collect(self) -> Iterator[Metric]:
        reloads = CounterMetricFamily(
            "raywarden_policy_reloads",
            "Changes of the policy file that were loaded or rejected.",
            labels=("outcome",),
        )
        for outcome, count in self._watch.reloads.items():
            reloads.add_metric([outcome], count)
        yield reloads
        yield GaugeMetricFamily(
            "raywarden_policy_last_reload_successful",
            "1 if the policy file is active; 0 if it was rejected and an older policy is active.",
            int(self._watch.up_to_date),
        )
        policy = self._watch.policy
        expired = len(policy.expired(self._today()))
        exemptions = GaugeMetricFamily(
            "raywarden_policy_exemptions", "Exemptions in the active policy.", labels=("state",)
        )
        exemptions.add_metric([_ACTIVE], len(policy.file.exemptions) - expired)
        exemptions.add_metric([_EXPIRED], expired)
        yield exemptions
