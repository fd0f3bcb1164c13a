"""Probes a Ray cluster whose ports are those of the test."""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

import uvloop

from certs.seed import Seed
from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.grpc_servers import Files
from tests.support.kube_conversation import free_port
from webhook.check.facts import CheckFacts, NetworkFacts, Unavailable
from webhook.check.findings import Finding
from webhook.check.probe import Target
from webhook.kube.objects import ray_cluster_of
from webhook.ports import StoredSeed

# gRPC verifies certificates against the real clock.
NOW = datetime.now(UTC)
CLUSTER = ray_cluster_of(live_objects.ray_cluster())
FILES = Files(live_objects.SEED, CLUSTER, NOW)
MANAGED = {"/metadata/labels": {"raywarden.io/tls": "managed"}}
NOT_COLLECTED = Unavailable("not collected", "")


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run a test on uvloop, which the command uses, and on asyncio's own loop."""

    def run_on_both() -> None:
        uvloop.run(test())
        asyncio.run(test())

    run_on_both.__name__, run_on_both.__doc__ = test.__name__, test.__doc__
    return run_on_both


def facts(
    ports: dict[str, int], *pods: Object, stored: Seed | None = live_objects.SEED, **spec: Any
) -> CheckFacts:
    """A cluster whose head listens on these ports, by parameter of `ray start`."""
    head = {"rayStartParams": {name: str(port) for name, port in ports.items()}}
    ray_cluster = changed(live_objects.ray_cluster(headGroupSpec=head, **spec), MANAGED)
    return CheckFacts(
        namespace="raywarden-system",
        now=NOW,
        own_version="0.1.0",
        server_version=NOT_COLLECTED,
        deployment=None,
        services={},
        policy=None,
        permissions=None,
        configurations={},
        seed=StoredSeed(stored.entries) if stored else None,
        namespaces=[live_objects.namespace()],
        ray_kinds=NOT_COLLECTED,
        ray_objects={"rayclusters": [ray_cluster]},
        ray_pods=pods or [live_objects.pod()],
        operators=NOT_COLLECTED,
        kuberay_accounts={},
        token_reviewers=(),
        dry_run_namespace="",
        dry_runs={},
        network=NetworkFacts([], {}, [], []),
    )


async def probe(
    facts: CheckFacts,
    name: str = "demo",
    *,
    address: str = "",
    all_pods: bool = False,
    caller: Object | None = None,
) -> dict[str, list[Finding]]:
    """The findings of a probe that runs in the pod `caller`, by id."""
    section = await Target.of(f"team-a/{name}", address, all_pods).section(facts, caller)
    assert section.title == f"probe team-a/{name}"
    findings: dict[str, list[Finding]] = {}
    for finding in section.findings:
        findings.setdefault(finding.id, []).append(finding)
    return findings


async def probe_gcs(port: int, **more: Any) -> dict[str, Finding]:
    """The findings about the head's GCS port, by id; nothing listens on its other ports."""
    others = ("ray-client-server-port", "dashboard-port", "dashboard-agent-listen-port")
    ports = {"port": port} | {name: free_port() for name in others}
    by_id = await probe(facts(ports, **more))
    return {id: findings[0] for id, findings in by_id.items() if f":{port}" in findings[0].message}
