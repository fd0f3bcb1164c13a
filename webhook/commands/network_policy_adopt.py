"""`raywarden network-policy --adopt`: existing RayClusters get NetworkPolicies from RayWarden."""

import sys
from collections.abc import Sequence
from urllib.parse import urlsplit

from policies.configured import NetworkIsolation
from policies.documents.metadata import annotations_of
from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ISOLATION_ANNOTATION, MANAGED
from webhook import wiring
from webhook.check.collect import Inspection
from webhook.check.deployment import StoredPolicy
from webhook.kube.request import InvalidError, NotFoundError
from webhook.network_policy.adoption import Adoption, NotAdopted, adoption_of
from webhook.network_policy.choices import USUAL_OPERATOR, Choices
from webhook.network_policy.live import ClusterReader, Object, explained, known
from webhook.network_policy.lost_access import lost_access
from webhook.policy.file import parse_policy
from webhook.ports import ConflictError, UnavailableError
from webhook.settings import Settings, SetupError

_ADOPTED, _NOTHING_ADOPTED, _FAILED = 0, 1, 2
# KubeRay writes the status of a cluster often, which counts as a change of the object.
_ATTEMPTS = 5


async def adopt(
    settings: Settings, patterns: Sequence[str], choices: Choices, dry_run: bool, yes: bool
) -> int:
    """Adopt the RayClusters whose `NAMESPACE/NAME` is in `patterns`; returns the exit code."""
    for pattern in patterns:
        namespace, slash, name = pattern.partition("/")
        if not (namespace and slash and name) or "/" in name:
            raise SetupError(f"--adopt {pattern}: write NAMESPACE/NAME")
    is_confirmed = yes or not any("*" in pattern for pattern in patterns)
    async with wiring.inspection(settings) as inspection:
        try:
            configured = choices.configured or await _installed_policy(inspection, settings)
            clusters = await _clusters(inspection.live, patterns)
            plan = await _plan(settings, inspection.live, clusters, configured, choices)
            if dry_run or not is_confirmed:
                print(f"{len(plan)} to adopt; nothing was changed")
                if not dry_run:
                    print("raywarden: confirm the pattern with --yes", file=sys.stderr)
                return _ADOPTED if dry_run and plan else _NOTHING_ADOPTED
            for adoption in plan:
                await _annotate(inspection.live, adoption.cluster)
                print(f"{adoption}: adopted")
        except UnavailableError as error:
            print(f"raywarden: {explained(error)}", file=sys.stderr)
            return _FAILED
    return _ADOPTED if plan else _NOTHING_ADOPTED


async def _installed_policy(inspection: Inspection, settings: Settings) -> NetworkIsolation:
    """That part of the server's policy file; raises SetupError if RayWarden is not installed."""
    try:
        stored = await inspection.installed_policy()
    except NotFoundError as error:
        raise SetupError(
            f"RayWarden is not installed: {error}. Apply deploy/base, or set RAYWARDEN_NAMESPACE "
            f"if it is not in {settings.namespace}"
        ) from None
    if isinstance(stored, StoredPolicy) and stored.content is not None:
        return parse_policy(None, stored.content).network_isolation
    if stored is not None:
        print(
            "note: the server's policy file cannot be read, so the default policy is assumed; "
            "--policy names it",
            file=sys.stderr,
        )
    return NetworkIsolation()


async def _clusters(live: ClusterReader, patterns: Sequence[str]) -> list[Object]:
    """The RayClusters that are meant; raises SetupError if there is none for a pattern."""
    clusters: list[Object] = []
    for pattern in patterns:
        namespace, _, name = pattern.partition("/")
        if "*" in pattern:
            found = await live.ray_clusters(pattern)
        else:
            cluster = await live.ray_cluster(namespace, name)
            found = [cluster] if cluster else []
        if not found:
            raise SetupError(
                f"there is no RayCluster {pattern}: kubectl get rayclusters -A lists them"
            )
        clusters += [cluster for cluster in found if cluster not in clusters]
    return clusters


async def _plan(
    settings: Settings,
    live: ClusterReader,
    clusters: Sequence[Object],
    configured: NetworkIsolation,
    choices: Choices,
) -> list[Adoption]:
    """The clusters that will be adopted; prints what that means."""
    signer = (settings.namespace, urlsplit(settings.signer_url).port or 443)
    usual = Infrastructure((USUAL_OPERATOR,), signer)
    plan = []
    for cluster in clusters:
        namespace = str(cluster["metadata"]["namespace"])
        infrastructure, _ = await live.infrastructure(namespace, usual, choices.operators)
        adoption = adoption_of(cluster, configured, infrastructure)
        if isinstance(adoption, NotAdopted):
            print(f"note: skipped {adoption}", file=sys.stderr)
            continue
        plan.append(adoption)
        services = await known(live.services(namespace))
        routes = await known(live.routes(namespace))
        lost = lost_access(adoption.traffic, adoption.policies, services or (), routes or ())
        for line in adoption.lines(list(lost)):
            print(line)
        if services is None or routes is None:
            print("  unknown: you may not list all Services and Ingresses of the namespace")
    return plan


async def _annotate(live: ClusterReader, cluster: Object) -> None:
    metadata = cluster["metadata"]
    for _ in range(_ATTEMPTS):
        try:
            await live.annotate(cluster, ISOLATION_ANNOTATION, MANAGED)
            return
        except (ConflictError, InvalidError):
            current = await live.ray_cluster(metadata["namespace"], metadata["name"])
            if current is None:
                raise NotFoundError(
                    f"RayCluster {metadata['namespace']}/{metadata['name']} was deleted"
                ) from None
            if ISOLATION_ANNOTATION in annotations_of(current):
                return
            cluster = current
    raise UnavailableError(
        f"RayCluster {metadata['namespace']}/{metadata['name']} cannot be changed: others keep "
        "changing it, or admission refuses the change; kubectl annotate shows the reason"
    )
