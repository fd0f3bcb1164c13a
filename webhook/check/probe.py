"""The live proof for a running cluster: which pods and ports to dial, and as whom."""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from certs.identity import Cluster
from certs.seed import Seed, SeedError
from policies.cluster.state import PORT_PARAMS
from policies.documents.untyped import as_dict
from policies.injection.contract import TlsBy, own_secret, tls_by
from policies.ray.pod import PodRole
from policies.ray.workload import (
    NODE_TYPE_LABEL,
    OPT_IN_CLUSTER_LABEL,
    OPT_IN_ROLE_LABEL,
    RAY_CLUSTER_LABEL,
    Workload,
)
from webhook.check.dial import Port, get, greet
from webhook.check.findings import (
    CheckFacts,
    Finding,
    Object,
    Section,
    Unavailable,
    failed,
    known,
    ok,
    unknown,
)
from webhook.check.probe_callers import callers
from webhook.check.probe_verdict import ProbedPort, of_grpc, of_http, together
from webhook.kube.objects import opted_in_cluster_of, pod_of, ray_cluster_of
from webhook.ports import StoredSeed
from webhook.settings import SetupError

T = TypeVar("T")

_AT_ONCE = 16
_MOST_WORKERS = 32
_GCS, _DASHBOARD, _CLIENT, _AGENT = PORT_PARAMS
# Where `ray start` has them; the parameters move them.
_DEFAULTS = {_GCS: 6379, _CLIENT: 10001, _DASHBOARD: 8265, _AGENT: 52365}
# Both are there for jobs: what they would not tell without a token, they would not run either.
_PATHS = {_DASHBOARD: "/api/jobs/", _AGENT: "/api/job_agent/jobs/"}


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster in the facts: its live pods, and the RayCluster; None of the latter for Ray without KubeRay."""

    cluster: Cluster
    workload: Workload | None
    pods: Sequence[Object]

    def with_role(self, role: PodRole) -> list[Object]:
        label = NODE_TYPE_LABEL if self.workload else OPT_IN_ROLE_LABEL
        return [
            pod
            for pod in self.pods
            if as_dict(as_dict(pod.get("metadata")).get("labels")).get(label) == role
        ]

    def port(self, parameter: str, role: PodRole) -> int:
        """Where `ray start` has been told to listen: the first group of this role that says so."""
        groups = self.workload.cluster.groups if self.workload and self.workload.cluster else ()
        said = [
            str(group.start_params.get(parameter, "")) for group in groups if group.role is role
        ]
        moved = (
            int(one)
            for one in said
            if one.isascii() and one.isdecimal() and 0 < int(one[:6]) < 65536
        )
        return next(moved, _DEFAULTS[parameter])


@dataclass(frozen=True)
class Target:
    """What the caller wants to be dialled; with an `address` the head alone, there."""

    namespace: str
    name: str
    address: str
    all_pods: bool

    @classmethod
    def of(cls, words: str, address: str, all_pods: bool) -> "Target":
        """NAMESPACE/CLUSTER as it is written; raises SetupError."""
        namespace, slash, name = words.partition("/")
        if not (namespace and slash and name):
            raise SetupError(f"{words} is not NAMESPACE/CLUSTER")
        return cls(namespace, name, address, all_pods)

    async def section(self, facts: CheckFacts) -> Section:
        """What the dials come to; raises SetupError where there is no such cluster."""
        title = f"probe {self.namespace}/{self.name}"
        subject = self._subject(facts)
        if isinstance(subject, Unavailable):
            return Section(title, (unknown("pods", "the pods of the cluster", subject),))
        heads = subject.with_role(PodRole.HEAD)
        if not heads:
            remediation = f"kubectl -n {self.namespace} describe raycluster {self.name}"
            return Section(
                title, (failed("head", "no head pod runs that has an address", remediation),)
            )
        limit = asyncio.Semaphore(_AT_ONCE)
        found = [one for head in heads for one in await self._head(facts, subject, head, limit)]
        if not self.address:
            found += await self._workers(subject, limit)
        return Section(title, tuple(found))

    def _subject(self, facts: CheckFacts) -> Subject | Unavailable:
        for listed in (facts.ray_pods, facts.ray_objects["rayclusters"], facts.namespaces):
            if isinstance(listed, Unavailable):
                return listed
        for document in known(facts.ray_objects["rayclusters"]):
            cluster = ray_cluster_of(document)
            if (cluster.namespace, cluster.name) == (self.namespace, self.name):
                return Subject(
                    cluster, Workload("RayCluster", document), self._pods(facts, RAY_CLUSTER_LABEL)
                )
        pods = self._pods(facts, OPT_IN_CLUSTER_LABEL)
        for document in known(facts.namespaces):
            cluster = opted_in_cluster_of(document, self.name)
            if pods and cluster.namespace == self.namespace:
                return Subject(cluster, None, pods)
        raise SetupError(
            f"there is no RayCluster {self.namespace}/{self.name}, and no pod labeled {self.name}"
        )

    def _pods(self, facts: CheckFacts, label: str) -> list[Object]:
        """Its pods that can be dialled."""
        return [
            pod
            for pod in known(facts.ray_pods)
            if (metadata := as_dict(pod.get("metadata"))).get("namespace") == self.namespace
            and as_dict(metadata.get("labels")).get(label) == self.name
            and not (live := pod_of(pod)).ended
            and live.addresses
        ]

    async def _head(
        self, facts: CheckFacts, subject: Subject, head: Object, limit: asyncio.Semaphore
    ) -> list[Finding]:
        seed = _seed(facts, subject)
        contexts = callers(
            subject.cluster,
            pod_of(head),
            None if isinstance(seed, Unavailable) else seed,
            facts.now,
        )
        grpc = [self._place(head, subject.port(one, PodRole.HEAD)) for one in (_GCS, _CLIENT)]
        http = [(self._place(head, subject.port(one, PodRole.HEAD)), one) for one in _PATHS]
        greeted, answered = await asyncio.gather(
            asyncio.gather(
                *(
                    _within(limit, greet(place.port, one))
                    for place in grpc
                    for one in contexts.values()
                )
            ),
            asyncio.gather(*(_within(limit, get(place.port, _PATHS[one])) for place, one in http)),
        )
        found: list[Finding] = []
        for place in grpc:
            heard, greeted = greeted[: len(contexts)], greeted[len(contexts) :]
            no_member = seed if isinstance(seed, Unavailable) else None
            found += of_grpc(place, dict(zip(contexts, heard, strict=True)), no_member)
        paired = zip(http, answered, strict=True)
        return [
            *found,
            *(of_http(place, _PATHS[one], heard, one is _AGENT) for (place, one), heard in paired),
        ]

    async def _workers(self, subject: Subject, limit: asyncio.Semaphore) -> list[Finding]:
        workers = subject.with_role(PodRole.WORKER)
        dialled = workers if self.all_pods else workers[:_MOST_WORKERS]
        number, path = subject.port(_AGENT, PodRole.WORKER), _PATHS[_AGENT]
        places = [self._place(worker, number) for worker in dialled]
        answered = await asyncio.gather(
            *(_within(limit, get(place.port, path)) for place in places)
        )
        findings = [
            of_http(place, path, heard, agent=True)
            for place, heard in zip(places, answered, strict=True)
        ]
        found = list(together(findings, places))
        if len(dialled) < len(workers):
            found.append(
                ok(
                    "workers",
                    f"{len(dialled)} of {len(workers)} workers were dialled; --all-pods dials all",
                )
            )
        return found

    def _place(self, document: Object, number: int) -> ProbedPort:
        pod = pod_of(document)
        own = str(pod.addresses[0])
        forward = f"kubectl -n {self.namespace} port-forward pod/{pod.name} {' '.join(map(str, _DEFAULTS.values()))}"
        again = f"raywarden check --probe {self.namespace}/{self.name} --address 127.0.0.1"
        reach = f"run it inside the cluster; or {forward}, and beside it {again}"
        return ProbedPort(pod.name, Port(self.address or own, number, own), reach)


def _seed(facts: CheckFacts, subject: Subject) -> Seed | Unavailable:
    """The seed, where it is known and this cluster lives on it."""
    if subject.workload and (by := tls_by(subject.workload)) is not TlsBy.RAYWARDEN:
        why = f"its certificates are not of our CA (TLS by {by})"
        return Unavailable(
            why, "have RayWarden see to it: recreate the cluster without a TLS set-up of its own"
        )
    if subject.workload and (secret := own_secret(subject.workload)):
        return Unavailable(
            f"it brings a certificate of its own (Secret {secret})", "look at that Secret's ca.crt"
        )
    if isinstance(facts.seed, Unavailable):
        return facts.seed
    if not isinstance(facts.seed, StoredSeed):
        return Unavailable(
            "the seed is in no Secret here",
            "run it with RAYWARDEN_SEED_DIR, where the seed is mounted",
        )
    try:
        return Seed.parse(facts.seed.entries)
    except SeedError as error:
        return Unavailable(str(error), "see to the seed first")


async def _within(limit: asyncio.Semaphore, asked: Awaitable[T]) -> T:
    async with limit:
        return await asked
