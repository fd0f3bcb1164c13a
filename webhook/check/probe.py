"""Probes a running Ray cluster: dials its ports like an intruder and like a member."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from policies.documents.metadata import annotations_of
from policies.network.ray_ports import FIXED_PORTS
from policies.ray.dashboard_proxy import AUTHORIZATION_ANNOTATION
from policies.ray.pod import PodRole
from webhook.check.dial import (
    Answer,
    DialResult,
    Port,
    dial_grpc,
    dial_http,
    dial_tcp,
    within,
)
from webhook.check.facts import CheckFacts, Object, Unavailable
from webhook.check.findings import Finding, Section, failed, ok, unknown
from webhook.check.probe_clients import https_stranger, probe_clients
from webhook.check.probe_cluster import (
    AGENT,
    CLIENT,
    DASHBOARD,
    GCS,
    ProbedCluster,
    find_cluster,
    has_loopback_dashboard,
    seed_of,
)
from webhook.check.probe_isolation import (
    ProbedIsolation,
    probe_isolation,
    stranger_of,
)
from webhook.check.probe_verdict import (
    ProbedPort,
    grpc_findings,
    http_finding,
    loopback_finding,
    merge_ok,
)
from webhook.kube.objects import pod_of
from webhook.settings import SetupError

# Enough for all dials of a head at once; bounds the open connections to workers.
_MAX_CONCURRENT = 16
# A cluster can have thousands of workers, made from few templates; --all-pods dials them all.
_MAX_WORKERS = 32
# Both paths serve jobs: a port that lists jobs without a token also runs them without a token.
_PATHS = {DASHBOARD: "/api/jobs/", AGENT: "/api/job_agent/jobs/"}


@dataclass(frozen=True)
class Target:
    """The cluster to probe. With an `address` only the head is dialed, at that address."""

    namespace: str
    name: str
    address: str
    all_pods: bool

    @classmethod
    def of(cls, cluster: str, address: str, all_pods: bool) -> "Target":
        """The target of NAMESPACE/CLUSTER; raises SetupError for any other text."""
        namespace, slash, name = cluster.partition("/")
        if not (namespace and slash and name):
            raise SetupError(f"{cluster} is not NAMESPACE/CLUSTER")
        return cls(namespace, name, address, all_pods)

    def head_address(self, facts: CheckFacts) -> str:
        """The address of a head pod; empty if none is known, or if another address is dialed."""
        probed = None if self.address else find_cluster(facts, self.namespace, self.name)
        heads = probed.with_role(PodRole.HEAD) if isinstance(probed, ProbedCluster) else ()
        return next((str(pod_of(head).addresses[0]) for head in heads), "")

    async def section(self, facts: CheckFacts, caller: Object | Unavailable | None) -> Section:
        """The findings of the probe; raises SetupError if there is no such cluster.

        `caller` is the pod that this command runs in; None if it runs elsewhere.
        """
        title = f"probe {self.namespace}/{self.name}"
        probed = find_cluster(facts, self.namespace, self.name)
        if isinstance(probed, Unavailable):
            return Section(title, (unknown("pods", "the pods of the cluster", probed),))
        return Section(title, tuple(await self._findings(facts, probed, caller)))

    async def _findings(
        self, facts: CheckFacts, probed: ProbedCluster, caller: Object | Unavailable | None
    ) -> list[Finding]:
        heads = probed.with_role(PodRole.HEAD)
        if not heads:
            remediation = f"run kubectl -n {self.namespace} describe raycluster {self.name}"
            return [failed("head", "no running head pod has an address", remediation)]
        limit = asyncio.Semaphore(_MAX_CONCURRENT)
        isolation = await self._isolation(facts, probed, caller, limit)
        findings = list(isolation.findings)
        probed = replace(probed, closed=isolation.closed)
        for head in heads:
            # gRPC and HTTP ports of a head are dialed at the same time.
            grpc, http = await asyncio.gather(
                self._grpc_ports(facts, probed, head, limit),
                self._http_ports(probed, head, limit),
            )
            findings += grpc + http
        if not self.address:
            findings += await self._workers(probed, limit)
        return findings

    async def _isolation(
        self,
        facts: CheckFacts,
        probed: ProbedCluster,
        caller: Object | Unavailable | None,
        limit: asyncio.Semaphore,
    ) -> ProbedIsolation:
        """Dials Ray's own ports as the pod that this command runs in, which is a stranger."""
        # A forwarded port does not meet NetworkPolicies.
        if self.address or (probed.workload is None and caller is None):
            return ProbedIsolation()
        stranger = stranger_of(facts, caller, self.namespace)
        if isinstance(stranger, Unavailable):
            subject = "whether the network enforces NetworkPolicies"
            return ProbedIsolation((unknown("isolation", subject, stranger),))
        workers = probed.with_role(PodRole.WORKER)[:_MAX_WORKERS]
        pods = [*probed.with_role(PodRole.HEAD), *workers]
        return await probe_isolation(stranger, probed, pods, limit)

    async def _grpc_ports(
        self, facts: CheckFacts, probed: ProbedCluster, head: Object, limit: asyncio.Semaphore
    ) -> list[Finding]:
        """Dials each gRPC port of the head as every client."""
        seed = seed_of(facts, probed)
        no_member = seed if isinstance(seed, Unavailable) else None
        known_seed = None if isinstance(seed, Unavailable) else seed
        contexts = probe_clients(probed.cluster, pod_of(head), known_seed, facts.now)
        numbers = [probed.port(name, PodRole.HEAD) for name in (GCS, CLIENT)]
        ports = [self._port(head, number) for number in numbers if not probed.closes(head, number)]

        async def dial(port: ProbedPort) -> Sequence[DialResult]:
            dials = [dial_grpc(port.port, context) for context in contexts.values()]
            return await asyncio.gather(*(within(limit, dial) for dial in dials))

        results = await asyncio.gather(*map(dial, ports))
        findings: list[Finding] = []
        for port, of_clients in zip(ports, results, strict=True):
            by_client = dict(zip(contexts, of_clients, strict=True))
            findings += grpc_findings(port, by_client, no_member)
        return findings

    async def _http_ports(
        self, probed: ProbedCluster, head: Object, limit: asyncio.Semaphore
    ) -> list[Finding]:
        """Asks the dashboard and the agent of the head for jobs, without a token."""

        numbers = {parameter: probed.port(parameter, PodRole.HEAD) for parameter in _PATHS}
        dialed = [name for name, number in numbers.items() if not probed.closes(head, number)]
        has_proxy = AUTHORIZATION_ANNOTATION in annotations_of(head)

        async def finding(parameter: str) -> Finding:
            port = self._port(head, numbers[parameter])
            path = _PATHS[parameter]
            # A forwarded port leads to the dashboard behind the proxy.
            is_proxied = parameter == DASHBOARD and has_proxy and not self.address
            context = https_stranger() if is_proxied else None
            result = await within(limit, dial_http(port.port, path, context))
            may_be_on_loopback = parameter == DASHBOARD and not is_proxied and result.is_refused
            if may_be_on_loopback and has_loopback_dashboard(head):
                # A pod in which Ray does not run refuses connections, too.
                gcs = self._port(head, probed.port(GCS, PodRole.HEAD)).port
                if (await within(limit, dial_tcp(gcs))).answer is Answer.CONNECTED:
                    return loopback_finding(port)
            return http_finding(
                port,
                path,
                result,
                is_agent=parameter == AGENT,
                has_kuberay=probed.workload is not None,
            )

        return await asyncio.gather(*map(finding, dialed))

    async def _workers(self, probed: ProbedCluster, limit: asyncio.Semaphore) -> list[Finding]:
        """Asks the agents of workers for jobs, without a token."""
        number, path = probed.port(AGENT, PodRole.WORKER), _PATHS[AGENT]
        all_workers = probed.with_role(PodRole.WORKER)
        workers = [worker for worker in all_workers if not probed.closes(worker, number)]
        dialed = workers if self.all_pods else workers[:_MAX_WORKERS]
        ports = [self._port(worker, number) for worker in dialed]
        dials = [within(limit, dial_http(port.port, path)) for port in ports]
        results = await asyncio.gather(*dials)
        each = [
            http_finding(port, path, result, is_agent=True, has_kuberay=probed.workload is not None)
            for port, result in zip(ports, results, strict=True)
        ]
        findings = list(merge_ok(each, ports))
        if len(dialed) < len(workers):
            message = (
                f"{len(dialed)} of {len(workers)} workers were dialed; --all-pods dials all of them"
            )
            findings.append(ok("workers", message))
        return findings

    def _port(self, document: Object, number: int) -> ProbedPort:
        pod = pod_of(document)
        address = str(pod.addresses[0])
        numbers = " ".join(map(str, FIXED_PORTS.values()))
        how_to_reach = (
            "run this command inside the cluster; "
            f"or run kubectl -n {self.namespace} port-forward pod/{pod.name} {numbers}, and beside "
            f"it raywarden check --probe {self.namespace}/{self.name} --address 127.0.0.1"
        )
        return ProbedPort(pod.name, Port(self.address or address, number, address), how_to_reach)
