"""Brings the NetworkPolicies of managed RayClusters to where they should be, and keeps them there.

Only RayClusters that may need a change are examined, one at a time for each worker, and the event
loop serves requests in between.
"""

import asyncio

import structlog

from policies.network.managed import StoredNetworkPolicy, application_of
from policies.network.written import WrittenPolicy
from webhook.isolation.lease import Election
from webhook.isolation.queue import DirtyClusters
from webhook.isolation.reports import Reports
from webhook.isolation.wanted import Plan, WantedPolicies
from webhook.ports import ClusterKey, IsolationState, NotWrittenError, PolicyWriter

# Requests to the API server at the same time.
_WORKERS = 8
# The garbage collector deletes policies of a deleted RayCluster. Where it does not, RayWarden does,
# but late: its cache may only be behind.
_ORPHAN_SECONDS = 30.0
# The cache learns of a write within this time.
_ECHO_SECONDS = 2.0
_SYNC_SECONDS = 0.1

# A stored policy by namespace and name.
_PolicyKey = tuple[str, str]


class IsolationController:
    """Writes NetworkPolicies while this replica is the one that writes."""

    def __init__(
        self,
        state: IsolationState,
        wanted: WantedPolicies,
        writer: PolicyWriter,
        election: Election,
        reports: Reports,
    ) -> None:
        self.election = election
        self.reports = reports
        self._state = state
        self.wanted = wanted
        self._writer = writer
        self._dirty = DirtyClusters()
        # The version that a policy had in the cache when it was written, for as long as the cache
        # may not have the new one.
        self._outdated: dict[_PolicyKey, str] = {}
        self._orphaned: dict[ClusterKey, float] = {}
        self._log = structlog.get_logger()
        wanted.problem_of = self._problem_of
        election.on_change = self._leader_changed
        state.on_change(self.examine)

    def examine(self, key: ClusterKey | None = None) -> None:
        """Examine a RayCluster soon; None means all."""
        if key is not None:
            self._dirty.add(key)
        elif self._state.synced:
            for each in {*self._state.keys(), *self.reports.missing}:
                self._dirty.add(each)

    async def run(self) -> None:
        """Examine what changes until cancelled."""
        while not self._state.synced:
            await asyncio.sleep(_SYNC_SECONDS)
        self.examine()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.election.run())
            for _ in range(_WORKERS):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._dirty.take()
            try:
                plan = self._plan(key)
                changed = self.election.leading and await self._carry_out(key, plan)
            except NotWrittenError as error:
                await self._failed(key, error)
            except Exception as error:
                # A defect must not stop admission, which runs in the same process.
                self._log.exception("network policies not examined", cluster=key[1])
                await self._failed(key, NotWrittenError(type(error).__name__, "defect"))
            else:
                self.reports.succeeded(key)
                if changed:
                    self._dirty.written(key)
                else:
                    self._dirty.unchanged(key)
            # Requests are answered in the same loop.
            await asyncio.sleep(0)

    def _plan(self, key: ClusterKey) -> Plan:
        for stored in self._state.policies_of(*key):
            place = (stored.namespace, stored.name)
            if self._outdated.get(place, stored.version) != stored.version:
                del self._outdated[place]
        plan = self.wanted.plan(*key)
        self.reports.examined(key, missing=bool(plan.write))
        if not plan.delete:
            self._orphaned.pop(key, None)
        return plan

    async def _carry_out(self, key: ClusterKey, plan: Plan) -> bool:
        """Write and delete; returns whether there was anything to do."""
        changed = False
        for policy, stored in plan.write:
            if plan.cluster and not self._awaits_echo(policy, stored):
                await self._write(key, policy, stored, application_of(policy, plan.cluster))
                changed = True
        for unneeded in plan.delete if self._may_delete(key) else ():
            await self._writer.delete(unneeded)
            self.reports.changed("deleted", unneeded.namespace, unneeded.name)
            changed = True
        return changed

    async def _write(
        self,
        key: ClusterKey,
        policy: WrittenPolicy,
        stored: StoredNetworkPolicy | None,
        document: dict[str, object],
    ) -> None:
        before = stored.version if stored else ""
        version = await self._writer.apply(document)
        if version == before:
            # It stays different from what RayWarden wants: to write it again would change nothing.
            raise NotWrittenError(f"applying {policy.name} changes nothing", "refused")
        place = (policy.namespace, policy.name)
        self._outdated[place] = before
        asyncio.get_running_loop().call_later(_ECHO_SECONDS, self._echoed, key, place)
        self.reports.changed("repaired" if stored else "written", *place)

    def _awaits_echo(self, policy: WrittenPolicy, stored: StoredNetworkPolicy | None) -> bool:
        """Whether the cache does not yet have what was just written."""
        before = self._outdated.get((policy.namespace, policy.name))
        return before is not None and before == (stored.version if stored else "")

    def _echoed(self, key: ClusterKey, place: _PolicyKey) -> None:
        if self._outdated.pop(place, None) is not None:
            self._dirty.add(key)

    def _may_delete(self, key: ClusterKey) -> bool:
        """Whether policies may be deleted: not if their RayCluster may only be unknown yet."""
        if self._state.uid_of(*key):
            self._orphaned.pop(key, None)
            return True
        if not self._state.knows_clusters:
            self._orphaned.pop(key, None)
            return False
        now = asyncio.get_running_loop().time()
        if key not in self._orphaned:
            self._orphaned[key] = now
            self._dirty.add_later(key, _ORPHAN_SECONDS + 1)
        return now - self._orphaned[key] >= _ORPHAN_SECONDS

    async def _failed(self, key: ClusterKey, error: NotWrittenError) -> None:
        await self.reports.failed(key, self._state.managed(*key), error)
        self._dirty.failed(key)

    def _leader_changed(self) -> None:
        if self.election.leading:
            self.examine()

    def _problem_of(self, key: ClusterKey) -> str:
        return self.reports.problem_of(key) or self.election.problem
