"""Which authentication RayWarden chooses for a new RayCluster whose author chose none."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from policies.documents.untyped import as_str
from policies.injection.contract import TlsBy, is_opted_out, tls_by
from policies.model import Facts
from policies.ray.auth import PROXIES, TOKEN_MODE, has_proxy, names_authentication
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.operator import KUBERNETES_TOKENS_SINCE, TOKENS_SINCE
from policies.ray.version import (
    AGENT_AUTH_SINCE,
    KUBERNETES_AUTH_SINCE,
    TOKEN_AUTH_SINCE,
    RayVersion,
    dotted,
    ray_version,
    versions_of,
)
from policies.ray.workload import ClusterSpec, Workload

OLD_KUBERAY = (
    f"the installed KubeRay does not know spec.authOptions; {dotted(TOKENS_SINCE)} and later do"
)


class Auth(StrEnum):
    """How Ray authenticates its callers."""

    NONE = "none"
    TOKEN = "token"
    KUBERNETES = "kubernetes"


_OPTIONS: Mapping[Auth, Mapping[str, Any]] = {
    Auth.NONE: {},
    Auth.TOKEN: {"mode": TOKEN_MODE},
    Auth.KUBERNETES: {"mode": TOKEN_MODE, "enableK8sTokenAuth": True},
}


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """What RayWarden writes for a RayCluster; `obstacle` says why that is less than configured."""

    auth: Auth
    obstacle: str = ""

    @property
    def options(self) -> Mapping[str, Any]:
        """The value of `authOptions`; empty if RayWarden leaves it unset."""
        return _OPTIONS[self.auth]


_NOTHING = TokenChoice(Auth.NONE)


def is_ours(options: Any) -> bool:
    """RayWarden could have written this value of `authOptions`."""
    return bool(options) and options in _OPTIONS.values()


def token_choice(workload: Workload, facts: Facts) -> TokenChoice:
    """The choice for a new RayCluster, or for the one that KubeRay creates from `workload`.

    Nothing is chosen where it could break a cluster: KubeRay refuses tokens for an older
    `rayVersion`, may replace a token that the author gave to a container, and a proxy beside the
    head sends no token to the dashboard.
    """
    cluster, wanted = workload.cluster, facts.injection.auth
    if wanted == "off" or cluster is None or cluster.spec.get("authOptions") is not None:
        return _NOTHING
    if wanted != "token" and (names_authentication(workload) or has_proxy(cluster, PROXIES)):
        return _NOTHING
    if tls_by(workload) not in (TlsBy.NONE, TlsBy.RAYWARDEN) or is_opted_out(workload, facts):
        return _NOTHING
    obstacle = _obstacle_to_tokens(cluster, workload, facts)
    if obstacle:
        return TokenChoice(Auth.NONE, obstacle)
    if wanted != "kubernetes" or _is_made_by_kuberay(workload):
        return TokenChoice(Auth.TOKEN)
    obstacle = _obstacle_to_kubernetes(workload, facts)
    return TokenChoice(Auth.TOKEN if obstacle else Auth.KUBERNETES, obstacle)


def _obstacle_to_tokens(cluster: ClusterSpec, workload: Workload, facts: Facts) -> str:
    least = TOKEN_AUTH_SINCE if facts.injection.auth == "token" else AGENT_AUTH_SINCE
    stated = _stated_version(cluster)
    if stated is None or stated < least:
        release = ".".join(map(str, least[:2]))
        return f"KubeRay supports it only where spec.rayVersion is {release} or later"
    older = next((known for known in _versions(workload) if known < TOKEN_AUTH_SINCE), None)
    if older is not None and facts.injection.auth != "token":
        return f"an image has Ray {dotted(older)}, which does not know tokens"
    if facts.namespace_state.kuberay.tokens is False:
        return OLD_KUBERAY
    return ""


def _obstacle_to_kubernetes(workload: Workload, facts: Facts) -> str:
    older = next((known for known in _versions(workload) if known < KUBERNETES_AUTH_SINCE), None)
    if older is not None:
        release = ".".join(map(str, KUBERNETES_AUTH_SINCE[:2]))
        return f"Ray {dotted(older)} does not ask the API server about tokens; {release} does"
    if facts.namespace_state.kuberay.kubernetes_tokens is False:
        return (
            "the installed KubeRay does not know authOptions.enableK8sTokenAuth; "
            f"{dotted(KUBERNETES_TOKENS_SINCE)} and later do"
        )
    for pod in workload.pods:
        # Ray asks the API server with the token that this field would take away.
        if pod.spec.get("automountServiceAccountToken") is False:
            return f"the {pod.title} sets automountServiceAccountToken: false"
    return ""


def _is_made_by_kuberay(workload: Workload) -> bool:
    """KubeRay refuses Kubernetes tokens in RayJobs and RayServices (`ValidateRayJobSpec`)."""
    return workload.kind != "RayCluster" or ORIGIN_KIND_LABEL in workload.labels


def _stated_version(cluster: ClusterSpec) -> RayVersion | None:
    """`rayVersion` as KubeRay reads it: the first number has no leading zero (`ParseGeneric`)."""
    text = as_str(cluster.spec.get("rayVersion"))
    return None if text.startswith(("0", "v0")) else ray_version(text)


def _versions(workload: Workload) -> Iterator[RayVersion]:
    return (version for version, _ in versions_of(workload))
