"""What `raywarden check` has learned from the API server before it judges anything."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from webhook.check.access_reviews import TokenReviewer
from webhook.check.deployment import ServerDeployment, StoredPolicy
from webhook.ports import StoredSeed

T = TypeVar("T")

Object = Mapping[str, Any]
Objects = Sequence[Object]

MUTATING, VALIDATING = "mutating", "validating"
REQUIRED_RAY_KINDS = ("rayclusters", "rayjobs", "rayservices")
# RayCronJob came later than the other kinds, and older releases of KubeRay do not have it.
RAY_KINDS = (*REQUIRED_RAY_KINDS, "raycronjobs")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The API server gave no answer: the reason, and how to get an answer."""

    reason: str
    remediation: str


@dataclass(frozen=True, slots=True)
class DryRunAnswer:
    """The API server's answer to a dry run.

    Either `document`, the object as it would be stored, or `rejection`, the message of the error.
    """

    document: Object | None = None
    rejection: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NetworkFacts:
    """What decides which traffic reaches Ray.

    `policies` are the NetworkPolicies. `other_policies` are policies that RayWarden does not read,
    by resource; a resource that the API server does not serve is missing. `daemon_sets` show which
    network the cluster has. `api_server` are the addresses and ports of the API server.
    """

    policies: Objects | Unavailable
    other_policies: Mapping[str, Objects | Unavailable]
    daemon_sets: Objects | Unavailable
    api_server: Sequence[tuple[str, int]] | Unavailable


@dataclass(frozen=True)
class CheckFacts:
    """Every answer of a cluster, or the reason why it is unavailable; None means "does not exist".

    `permissions` maps each permission the server needs to whether it has it, and is None while the
    server's service account is unknown. `configurations` and `dry_runs` have the keys MUTATING and
    VALIDATING. `ray_objects` is by plural; a kind the API server does not serve has no objects.
    `kuberay_accounts` are the users that RBAC allows to run KubeRay, each with the namespaces where
    it does; none of them means all namespaces.
    `token_reviewers` are the service accounts of RayClusters with Kubernetes tokens or a proxy.
    The dry runs, in `dry_run_namespace`, are a pod that RayWarden must reject (VALIDATING) and a
    RayCluster that it must complete (MUTATING).
    """

    namespace: str
    now: datetime
    own_version: str
    server_version: Object | Unavailable
    deployment: ServerDeployment | Unavailable | None
    services: Mapping[str, Object | Unavailable | None]
    policy: StoredPolicy | Unavailable | None
    permissions: Mapping[str, bool] | Unavailable | None
    configurations: Mapping[str, Object | Unavailable | None]
    seed: StoredSeed | Unavailable | None = field(repr=False)
    namespaces: Objects | Unavailable
    ray_kinds: frozenset[str] | Unavailable
    ray_objects: Mapping[str, Objects | Unavailable]
    ray_pods: Objects | Unavailable
    operators: Objects | Unavailable
    kuberay_accounts: Mapping[str, frozenset[str]] | Unavailable
    token_reviewers: Sequence[TokenReviewer] | Unavailable
    dry_run_namespace: str
    dry_runs: Mapping[str, DryRunAnswer | Unavailable]
    network: NetworkFacts


def or_empty(values: Sequence[T] | Unavailable | None) -> Sequence[T]:
    """The values; empty if they are unavailable, which another finding reports."""
    return () if values is None or isinstance(values, Unavailable) else values
