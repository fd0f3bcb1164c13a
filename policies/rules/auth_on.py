"""Ray requires token authentication."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.isolation import Isolation, is_closed, isolation, open_rules
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import TlsBy, tls_by
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import repository_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.version import (
    AGENT_AUTH_SINCE,
    TOKEN_AUTH_SINCE,
    dotted,
    ray_version,
    versions_of,
)
from policies.ray.workload import ClusterSpec, Workload

_MODE = "RAY_AUTH_MODE"
_TOKEN = "token"
_OFF = frozenset({"", "disabled"})
_LOOPBACK = ("127.0.0.1", "localhost")
_FIX_CLUSTER = "set authOptions: {mode: token} in the cluster's spec (Ray 2.52 or later)"
_FIX_OWNER = "in the RayCluster of this pod, set authOptions: {mode: token} (Ray 2.52 or later)"
_FIX_POD = (
    "add {name: RAY_AUTH_MODE, value: token} to env of the Ray containers, and RAY_AUTH_TOKEN with "
    "valueFrom.secretKeyRef (Ray 2.52 or later)"
)


class AuthOn(Rule):
    """Refuses Ray without authentication, by token or by a proxy in front of isolated pods.

    Token authentication is on with `authOptions.mode: token`, or with RAY_AUTH_MODE set to exactly
    `token` in the Ray containers. The profile `baseline` already refuses values that Ray silently
    treats as off. A proxy counts if it runs beside the head, the head sets
    `dashboard-host: 127.0.0.1`, and NetworkPolicies isolate the pods, because the dashboard agent
    on port 52365 still listens on every address. Before Ray 2.54 that agent does not check the
    token, so these versions need such NetworkPolicies even if token authentication is on.
    Why: with TLS alone, any pod that can reach `http://POD:52365/api/job_agent/jobs/` can run a
    command (CVE-2023-48022, which Ray's defaults never fixed).
    Fix: set `authOptions: {mode: token}` in the cluster's spec.
    """

    id: ClassVar[str] = "auth-on"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    from_level: ClassVar[Profile | None] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    proxies: tuple[str, ...] = Field(
        (
            "kube-rbac-proxy",
            "oauth2-proxy",
            "oauth-proxy",
            "ose-oauth-proxy",
            "ose-oauth-proxy-rhel9",
        ),
        description="images of authenticating proxies, each by the last part of its repository",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        wrong_values = list(self._check_values(workload))
        yield from wrong_values
        cluster, pods = workload.cluster, _pods_that_speak_ray(workload)
        if wrong_values or not pods:
            return
        # Every pod that serves Ray's ports must authenticate its callers.
        without_token = [pod for pod in pods if not all(map(_has_token_mode, _servers(pod)))]
        if not without_token or (cluster and _gets_token_mode(cluster, workload, facts)):
            yield from self._check_agent(workload, facts)
            return
        if cluster and self._is_proxied(cluster) and is_closed(workload, facts.namespace_state):
            return
        place = cluster.pointer / "authOptions" if cluster else without_token[0].spec_pointer
        # A cluster and its pods get the same words, so that they count as one finding.
        titles = [f"the {pod.title}" for pod in without_token]
        if len(without_token) == len(pods):
            titles = ["the pods"]
        for title in titles:
            message = (
                f"Ray token authentication is off: anyone who can reach {title} can run code there"
            )
            yield self.violation(message, place, _token_fix(workload))

    def _check_agent(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """The dashboard agent of some versions ignores the token; NetworkPolicies must protect it.

        Versions of Ray without any token authentication are refused by `ray-version-floor`.
        """
        versions = versions_of(workload)
        affected = (
            stated for stated in versions if TOKEN_AUTH_SINCE <= stated[0] < AGENT_AUTH_SINCE
        )
        older = next(affected, None)
        if older is None:
            return
        # A pod that KubeRay creates was checked as part of its RayCluster; KubeRay may create the
        # NetworkPolicy after the pod.
        if workload.is_kuberay_pod and facts.stored is None:
            return
        if is_closed(workload, facts.namespace_state):
            return
        version, place = older
        groups = isolation(workload, facts.namespace_state)
        is_open = any(group.isolation is Isolation.OPEN for group in groups) or any(
            open_rules(workload)
        )
        report = self.violation if is_open else self.unknown
        yield report(
            f"the dashboard agent of Ray {dotted(version)} does not check the token: anyone who "
            "can reach port 52365 can run code",
            place,
            f"use Ray {dotted(AGENT_AUTH_SINCE)} or later in rayVersion and in every image; until "
            "then, restrict access to the pods with a NetworkPolicy",
        )

    def _check_values(self, workload: Workload) -> Iterator[Violation]:
        """RAY_AUTH_MODE as the author wrote it, which overrides what KubeRay would write."""
        for container, title in workload.ray_containers:
            entries = container.variables.get(_MODE, [])
            for index, entry in entries:
                message = _problem_with_mode(workload, entry, repeated=len(entries) > 1)
                if message:
                    yield self.violation(
                        f"{title} {message}",
                        container.pointer / "env" / index,
                        _mode_fix(workload),
                        profile=Profile.BASELINE,
                    )

    def _is_proxied(self, cluster: ClusterSpec) -> bool:
        if cluster.head.start_params.get("dashboard-host") not in _LOOPBACK:
            return False
        names = (
            repository_of(container.image).rpartition("/")[2]
            for container in cluster.head.pod.containers
        )
        return any(name in self.proxies for name in names)


def _pods_that_speak_ray(workload: Workload) -> list[Pod]:
    """The pods that serve Ray's ports or connect to them."""
    without_ray = (PodRole.SUBMITTER, PodRole.CLEANUP)
    return [pod for pod in workload.pods if pod.role not in without_ray and pod.ray_container]


def _servers(pod: Pod) -> Iterator[Container]:
    """The containers that serve Ray's ports: the Ray container, and others that run `ray start`."""
    for container in pod.ray_containers:
        if container is pod.ray_container or container.ray_starts:
            yield container


def _problem_with_mode(workload: Workload, entry: Mapping[str, Any], *, repeated: bool) -> str:
    """What is wrong with one RAY_AUTH_MODE; empty if nothing is."""
    value = as_str(entry.get("value"))
    if entry.get("valueFrom") is not None:
        return f"takes {_MODE} from elsewhere, so its value cannot be verified"
    if value != _TOKEN and (value not in _OFF or repeated):
        return f'sets {_MODE} to "{value}"; Ray authenticates only if it is exactly "{_TOKEN}"'
    if value in _OFF and _mode(workload.cluster) == _TOKEN:
        return f"sets {_MODE}, which turns off the token authentication that authOptions turns on"
    return ""


def _mode(cluster: ClusterSpec | None) -> str:
    return as_str(as_dict(cluster.spec.get("authOptions")).get("mode")) if cluster else ""


def _token_fix(workload: Workload) -> str:
    """How to turn token authentication on."""
    if workload.cluster:
        return _FIX_CLUSTER
    return _FIX_OWNER if workload.is_kuberay_pod else _FIX_POD


def _mode_fix(workload: Workload) -> str:
    """What to do about a RAY_AUTH_MODE with a wrong value."""
    if workload.cluster and _mode(workload.cluster) == _TOKEN:
        return f"remove {_MODE}; authOptions is enough"
    if workload.cluster or workload.is_kuberay_pod:
        return f"remove {_MODE}, and {_token_fix(workload)}"
    return f"set value: {_TOKEN}"


def _gets_token_mode(cluster: ClusterSpec, workload: Workload, facts: Facts) -> bool:
    """The cluster sets token mode, or the mutation `auth-token` will set it on the RayCluster."""
    if _mode(cluster) == _TOKEN:
        return True
    if workload.kind == "RayCluster" or cluster.spec.get("authOptions") is not None:
        return False
    if tls_by(workload) not in (TlsBy.NONE, TlsBy.RAYWARDEN):
        return False
    if facts.injection.auth != _TOKEN or facts.injection.ray_cluster != "full":
        return False
    version = ray_version(as_str(cluster.spec.get("rayVersion")))
    return version is not None and version >= TOKEN_AUTH_SINCE


def _has_token_mode(container: Container) -> bool:
    values = [as_str(entry.get("value")) for _, entry in container.variables.get(_MODE, ())]
    return values == [_TOKEN]
