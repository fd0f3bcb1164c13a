"""The policy in force: read again when its file changes, the last good one kept when what is there now is wrong."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import date
from types import MappingProxyType

import structlog
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from policies.config import Policy
from webhook.metrics.registry import Label, LookedUp
from webhook.settings import SetupError

_LOADED, _REJECTED = "loaded", "rejected"
_MOMENT_SECONDS = 0.1


class PolicyWatch:
    """Looks at the file's content: a ConfigMap's files are links that change all at once, whatever their times say.

    `read` gives what stands in the file; `parse` makes a policy of it that can take the place of the one in force,
    None at start. Both raise SetupError, and so does the constructor: nothing starts with a wrong policy.
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
        # What was found last, good or not: the content, or why there was none.
        self._found: bytes | str = read()
        self._reported: date | None = None
        self._log = structlog.get_logger()
        self.policy = parse(self._found, None)
        self.current = True
        self.reloads = {_LOADED: 0, _REJECTED: 0}

    async def run(self, period: float) -> None:
        """Look every `period` seconds, and never end."""
        while True:
            await self.look()
            await asyncio.sleep(period)

    async def look(self) -> None:
        """Look once at the file and once at the calendar. Each change is said and counted once."""
        try:
            content = await self._settled()
        except SetupError as error:
            self._reject(str(error), error)
        else:
            if content != self._found:
                await self._take(content)
        self._report_ended()

    async def _settled(self) -> bytes:
        """The content, once it has been the same for a moment: whoever writes it in place may not be done."""
        before = self._found
        # In a thread: the file may be slow to come or long to read, and requests do not wait for it.
        while (content := await asyncio.to_thread(self._read)) != before:
            before = content
            await asyncio.sleep(_MOMENT_SECONDS)
        return content

    async def _take(self, content: bytes) -> None:
        try:
            policy = await asyncio.to_thread(self._parse, content, self.policy)
        except SetupError as error:
            self._reject(content, error)
            return
        self.policy, self._found, self.current, self._reported = policy, content, True, None
        self.reloads[_LOADED] += 1
        self._log.info("policy loaded")

    def _reject(self, found: bytes | str, error: SetupError) -> None:
        if found != self._found:
            self._found, self.current = found, False
            self.reloads[_REJECTED] += 1
            self._log.error(
                "policy rejected, the last good one stays in force",
                problems=str(error).splitlines(),
            )

    def _report_ended(self) -> None:
        """Name the exemptions that have ended, with each policy and on each new day."""
        if self._reported == (today := self._today()):
            return
        self._reported = today
        for number, exemption in self.policy.ended(today):
            self._log.warning(
                "exemption ended",
                exemption=number,
                reason=exemption.reason,
                until=str(exemption.until),
            )


class PolicyMetrics(LookedUp):
    """What is in force, looked up when it is asked for: an exemption ends by itself."""

    labels = MappingProxyType(
        {
            "raywarden_policy_reloads": (Label("outcome", (_LOADED, _REJECTED)),),
            "raywarden_policy_exemptions": (Label("state", ("in force", "ended")),),
        }
    )

    def __init__(self, watch: PolicyWatch, today: Callable[[], date]) -> None:
        self._watch = watch
        self._today = today

    def collect(self) -> Iterator[Metric]:
        reloads = CounterMetricFamily(
            "raywarden_policy_reloads",
            "times the policy file was found changed",
            labels=("outcome",),
        )
        for outcome, count in self._watch.reloads.items():
            reloads.add_metric([outcome], count)
        yield reloads
        text = "1 when the policy file is what is in force, 0 when the last good one was kept"
        yield GaugeMetricFamily("raywarden_policy_current", text, int(self._watch.current))
        policy = self._watch.policy
        ended = len(policy.ended(self._today()))
        exemptions = GaugeMetricFamily(
            "raywarden_policy_exemptions", "exemptions of the policy in force", labels=("state",)
        )
        exemptions.add_metric(["in force"], len(policy.file.exemptions) - ended)
        exemptions.add_metric(["ended"], ended)
        yield exemptions
