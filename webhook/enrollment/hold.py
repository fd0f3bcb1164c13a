"""Pods wait for their certificate, and so for Ray's start, until NetworkPolicies close them."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from certs.identity import Cluster
from policies.configured import NetworkIsolation
from webhook.ports import NetworkPolicies

# RayWarden writes the policies when it sees the RayCluster, so they are usually there before the
# first pod asks, or some milliseconds later. A look at memory costs next to nothing.
_FIRST_PAUSE_SECONDS, _LAST_PAUSE_SECONDS = 0.02, 0.25
# Requests stay open for so long after the first one of their cluster, and later ones are answered
# at once: pods that wait long must not use up the open requests that other clusters need.
_OPEN_SECONDS = 5.0
# A kubelet starts an init container again after five minutes at most. If no pod asks for longer
# than this, none is waiting.
_FORGOTTEN_AFTER_SECONDS = 900.0
# Anyone who may create RayClusters can have pods wait; real clusters wait for a moment. When the
# limit is reached, the cluster that asked least recently waits anew.
_MAX_CLUSTERS = 10_000


class HeldError(Exception):
    """The pod gets its certificate when its cluster's NetworkPolicies stand.

    The message says which of them is missing, and what to do.
    """


class Hold:
    """Holds the pods of a RayCluster while its NetworkPolicies are missing.

    `isolation` is the policy file's part at the time of a request. `clock` gives seconds.
    """

    def __init__(
        self,
        policies: NetworkPolicies,
        isolation: Callable[[], NetworkIsolation],
        clock: Callable[[], float],
    ) -> None:
        self._policies = policies
        self._isolation = isolation
        self._clock = clock
        # For each cluster whose pods are held: when one asked first, and when one asked last.
        self._held: OrderedDict[tuple[str, str, str], tuple[float, float]] = OrderedDict()

    async def release(self, cluster: Cluster) -> str:
        """Return when the cluster's pods may start; raises HeldError if that takes long.

        The result is empty if its NetworkPolicies stand, or if it has none. Otherwise it says what
        is missing, and the policy file lets pods start without it.
        """
        # RayWarden writes no policies for Ray without KubeRay.
        if cluster.opted_in:
            return ""
        key = (cluster.namespace, cluster.name, cluster.uid)
        pause = _FIRST_PAUSE_SECONDS
        while missing := self._policies.missing(*key):
            seconds = self._seconds_held(key)
            isolation = self._isolation()
            if isolation.when_missing == "start" and seconds >= isolation.hold_seconds:
                return missing
            if seconds + pause > _OPEN_SECONDS:
                raise HeldError(
                    f"this pod waits for the NetworkPolicies of RayCluster {cluster.name}: "
                    f"{missing}. If this lasts, run `raywarden check` and read the log of "
                    "RayWarden's server"
                )
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LAST_PAUSE_SECONDS)
        self._held.pop(key, None)
        return ""

    def _seconds_held(self, key: tuple[str, str, str]) -> float:
        """How long the pods of a cluster have been waiting."""
        now = self._clock()
        first, last = self._held.get(key, (now, now))
        if now - last > _FORGOTTEN_AFTER_SECONDS:
            first = now
        self._held[key] = (first, now)
        self._held.move_to_end(key)
        if len(self._held) > _MAX_CLUSTERS:
            self._held.popitem(last=False)
        return now - first
