"""Finds out whether the network enforces the NetworkPolicies of a cluster, by trying."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from policies.documents.metadata import labels_of, name_of, namespace_of
from policies.network.parties import PodParty
from policies.network.policy import Direction
from policies.network.ports import Ports, common
from policies.network.ray_traffic import METRICS_PORT, only
from policies.network.reachability import Policies
from webhook.check.cluster_isolation import NO_POLICIES, by_namespace
from webhook.check.dial import Answer, Port, dial_tcp, within
from webhook.check.facts import CheckFacts, Object, Unavailable, or_empty
from webhook.check.findings import Finding, enumerated, failed, ok, unknown, warning
from webhook.check.probe_cluster import ProbedCluster
from webhook.kube.objects import pod_of

RUN_IN_POD = (
    "run the command in a pod that is not a member of the cluster, as deploy/NETWORK.md shows"
)
_ID = "isolation"


@dataclass(frozen=True, slots=True)
class ProbedIsolation:
    """The findings about isolation, and the ports that are closed, as `POD:PORT`."""

    findings: tuple[Finding, ...] = ()
    closed: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stranger:
    """The pod that dials, with what the policies of its namespace and of the cluster's say."""

    title: str
    party: PodParty
    leaving: Policies
    entering: Policies

    def enters(self, pod: PodParty) -> Ports:
        """The ports of a pod of the cluster that its policies may let this pod reach."""
        return self.entering.reach(pod, Direction.INGRESS, self.party).possibly

    def leaves(self, pod: PodParty) -> Ports:
        """The ports of that pod that this pod can certainly connect to by its own policies."""
        return self.leaving.reach(self.party, Direction.EGRESS, pod).certainly


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What happened at a pod of the cluster, as the names of its ports.

    Policies close the ports in the first three fields. `connected`: they accept a connection
    nevertheless. `closed`: they accept none. `unproven`: they accept none, but neither does a port
    that policies leave open, so perhaps nothing listens in the pod yet. `let_in`: policies leave
    these ports open. `without`: no policy applies to the pod.
    """

    connected: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()
    let_in: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


def stranger_of(
    facts: CheckFacts, caller: Object | Unavailable | None, namespace: str
) -> Stranger | Unavailable:
    """The pod that this command runs in, as a stranger to a cluster in `namespace`."""
    policies = facts.network.policies
    if isinstance(caller, Unavailable):
        return caller
    if isinstance(policies, Unavailable):
        return policies
    if caller is None:
        reason = "this command does not run in a pod with an address of its own"
        return Unavailable(reason, RUN_IN_POD)
    own, known = namespace_of(caller), by_namespace(policies)
    crowded = {namespace_of(policy) for policy in policies}.difference(known)
    if crowded.intersection((own, namespace)):
        return Unavailable("there are too many NetworkPolicies to read", RUN_IN_POD)
    labels = {name_of(item): labels_of(item) for item in or_empty(facts.namespaces)}
    return Stranger(
        f"{own}/{name_of(caller)}",
        PodParty(own, labels_of(caller), labels.get(own)),
        known.get(own, NO_POLICIES).policies,
        known.get(namespace, NO_POLICIES).policies,
    )


async def probe_isolation(
    stranger: Stranger, probed: ProbedCluster, pods: Sequence[Object], limit: asyncio.Semaphore
) -> ProbedIsolation:
    """Connects to Ray's own ports of these pods as a stranger."""
    attempts = await asyncio.gather(*(_attempt(stranger, probed, pod, limit) for pod in pods))
    closed: set[str] = set()
    for attempt in attempts:
        closed.update(attempt.closed)
    return ProbedIsolation(tuple(_findings(stranger.title, attempts)), frozenset(closed))


async def _attempt(
    stranger: Stranger, probed: ProbedCluster, document: Object, limit: asyncio.Semaphore
) -> _Attempt:
    live, party = pod_of(document), PodParty(namespace_of(document), labels_of(document))
    enters, leaves = stranger.enters(party), stranger.leaves(party)
    testable = [number for number in probed.own_ports(document) if common(leaves, only(number))]
    closed = [number for number in testable if not common(enters, only(number))]

    async def connects(number: int) -> bool:
        port = Port(str(live.addresses[0]), number)
        return (await within(limit, dial_tcp(port))).answer is Answer.CONNECTED

    def titles(numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(f"{live.name}:{number}" for number in numbers)

    accepted = await asyncio.gather(*map(connects, closed))
    connected = [number for number, accepts in zip(closed, accepted, strict=True) if accepts]
    refused = titles(number for number in closed if number not in connected)
    # A port that policies leave open, for comparison: without a connection there, that the others
    # accept none proves nothing.
    has_open_port = bool(common(common(enters, leaves), only(METRICS_PORT)))
    proven = bool(connected) or not has_open_port or await connects(METRICS_PORT)
    others = titles(number for number in testable if number not in closed)
    isolated = bool(stranger.entering.isolating(party, Direction.INGRESS))
    attempt = _Attempt(connected=titles(connected))
    attempt = replace(attempt, closed=refused) if proven else replace(attempt, unproven=refused)
    return replace(attempt, let_in=others) if isolated else replace(attempt, without=others)


def _findings(title: str, attempts: Sequence[_Attempt]) -> Iterator[Finding]:
    """The findings about all attempts of the pod `title`."""

    def ports(of_kind: Callable[[_Attempt], Iterable[str]]) -> str:
        return enumerated([port for attempt in attempts for port in of_kind(attempt)])

    connected, closed = ports(lambda each: each.connected), ports(lambda each: each.closed)
    without, let_in = ports(lambda each: each.without), ports(lambda each: each.let_in)
    unproven = ports(lambda each: each.unproven)
    if connected:
        message = (
            f"{connected} accept connections from {title}: NetworkPolicies close these ports, but "
            "the network does not enforce them"
        )
        remediation = "install a network that enforces NetworkPolicies: see deploy/NETWORK.md"
        yield failed(_ID, message, remediation)
    if closed:
        yield ok(_ID, f"{title} cannot connect to {closed}, as NetworkPolicies say")
    if without:
        message = f"no NetworkPolicy closes {without} for {title}"
        yield warning(_ID, message, "see what the section network-isolation says")
    if unproven:
        reason = (
            f"{title} can connect neither to {unproven} nor to port {METRICS_PORT}, which "
            "NetworkPolicies leave open"
        )
        yield _unknown(reason, "wait until Ray runs, and try again")
    if let_in:
        yield _unknown(f"NetworkPolicies may let {title} reach {let_in}", RUN_IN_POD)
    if not (connected or closed or without or unproven or let_in):
        reason = f"NetworkPolicies of its own namespace may keep {title} from connecting"
        yield _unknown(reason, RUN_IN_POD)


def _unknown(reason: str, remediation: str) -> Finding:
    subject = "whether the network enforces NetworkPolicies"
    return unknown(_ID, subject, Unavailable(reason, remediation))
