"""Ray asks who is there."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from policies.cluster.isolation import Isolation, is_closed, isolation, open_rules
from policies.documents.untyped import as_dict, as_str
from policies.injection.contract import TlsBy, tls_by
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.image import repository_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.version import (
    AGENT_ASKS_SINCE,
    TOKENS_SINCE,
    dotted,
    ray_version,
    versions_of,
)
from policies.ray.workload import ClusterSpec, Workload

_MODE = "RAY_AUTH_MODE"
_TOKEN = "token"
_OFF = frozenset({"", "disabled"})
_LOOPBACK = ("127.0.0.1", "localhost")
_AUTH_OPTIONS = "write authOptions: {mode: token} into the cluster's spec (Ray 2.52 or later)"
_OF_CLUSTER = "have its RayCluster say authOptions: {mode: token} (Ray 2.52 or later)"
_VARIABLES = (
    "write {name: RAY_AUTH_MODE, value: token} into env of its Ray containers, and RAY_AUTH_TOKEN with "
    "valueFrom.secretKeyRef (Ray 2.52 or later)"
)


class AuthOn(Rule):
    """Refuses Ray without token authentication, unless a proxy that asks stands before a dashboard that is closed.

    Token authentication is `authOptions.mode: token`, or RAY_AUTH_MODE exactly `token` where Ray runs. A value
    that Ray silently reads as off is refused from `baseline` on. A proxy counts where it runs beside the head with
    `dashboard-host: 127.0.0.1`, and NetworkPolicies close the pods: the agent on 52365 listens to everyone. It does
    so before Ray 2.54 with token authentication, too: there NetworkPolicies have to close the pods as well.
    Why: with TLS alone `POST http://POD:52365/api/job_agent/jobs/` runs a command for any pod that can reach it
    (CVE-2023-48022, never fixed by default).
    Fix: `authOptions: {mode: token}` in the cluster's spec.
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
        description="last parts of the names of images that ask who is there",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        wrong = list(self._check_values(workload))
        yield from wrong
        cluster, pods = workload.cluster, _speakers(workload)
        if wrong or not pods:
            return
        # Who serves has to ask; who only calls is turned away without a token.
        without = [
            pod for pod in pods if pod.ray_container and not _has_token_mode(pod.ray_container)
        ]
        if not without or (cluster and _asks_for_tokens(cluster, workload, facts)):
            yield from self._check_agent(workload, facts)
            return
        if cluster and self._is_proxied(cluster) and is_closed(workload, facts.namespace_state):
            return
        place = cluster.pointer / "authOptions" if cluster else without[0].spec_pointer
        remediation = (
            _AUTH_OPTIONS if cluster else _OF_CLUSTER if workload.is_kuberay_pod else _VARIABLES
        )
        # The same words for a cluster and for its pods: one finding, wherever it is met first.
        titles = (
            ["its pods"] if len(without) == len(pods) else [f"the {pod.title}" for pod in without]
        )
        for title in titles:
            yield self.violation(
                f"whoever reaches {title} runs code there: Ray does not ask who it is",
                place,
                remediation,
            )

    def _check_agent(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Some agents leave the token to the rest of Ray: only who cannot reach them is kept out.

        Ray that has no tokens at all is for `ray-version-floor` to refuse.
        """
        older = next(
            (one for one in versions_of(workload) if TOKENS_SINCE <= one[0] < AGENT_ASKS_SINCE),
            None,
        )
        # A pod KubeRay makes was judged as part of its RayCluster; KubeRay's NetworkPolicy may come after it.
        if (
            older is None
            or (workload.is_kuberay_pod and facts.stored is None)
            or is_closed(workload, facts.namespace_state)
        ):
            return
        (version, place), found = older, isolation(workload, facts.namespace_state)
        opened = any(one.by is Isolation.OPEN for one in found) or any(open_rules(workload))
        message = f"the agent of Ray {dotted(version)} asks nobody for the token: whoever reaches 52365 runs code"
        remediation = (
            f"use Ray {dotted(AGENT_ASKS_SINCE)} or later, in rayVersion and in every image"
        )
        say = self.violation if opened else self.unknown
        yield say(message, place, f"{remediation}; until then close the pods by a NetworkPolicy")

    def _check_values(self, workload: Workload) -> Iterator[Violation]:
        """What an author wrote into RAY_AUTH_MODE, which goes before what KubeRay would write."""
        for container, title in workload.ray_containers:
            entries = container.variables.get(_MODE, [])
            for index, entry in entries:
                place, value = container.pointer / "env" / index, as_str(entry.get("value"))
                remediation = _mode_fix(workload)
                if entry.get("valueFrom") is not None:
                    yield self.violation(
                        f"{title} takes {_MODE} from elsewhere",
                        place,
                        remediation,
                        profile=Profile.BASELINE,
                    )
                elif value != _TOKEN and (value not in _OFF or len(entries) > 1):
                    message = f'{title} sets {_MODE} to "{value}", which Ray does not read as token'
                    yield self.violation(message, place, remediation, profile=Profile.BASELINE)
                elif value in _OFF and _mode(workload.cluster) == _TOKEN:
                    message = f"{title} turns off by {_MODE} what authOptions turns on"
                    yield self.violation(message, place, remediation, profile=Profile.BASELINE)

    def _is_proxied(self, cluster: ClusterSpec) -> bool:
        names = (
            repository_of(container.image).rpartition("/")[2]
            for container in cluster.head.pod.containers
        )
        return cluster.head.start_params.get("dashboard-host") in _LOOPBACK and any(
            name in self.proxies for name in names
        )


def _speakers(workload: Workload) -> list[Pod]:
    """The pods that serve Ray's ports, or talk to them."""
    silent = (PodRole.SUBMITTER, PodRole.CLEANUP)
    return [pod for pod in workload.pods if pod.role not in silent and pod.ray_container]


def _mode(cluster: ClusterSpec | None) -> str:
    return as_str(as_dict(cluster.spec.get("authOptions")).get("mode")) if cluster else ""


def _mode_fix(workload: Workload) -> str:
    """What to write in place of a RAY_AUTH_MODE that is wrong."""
    if workload.cluster:
        asked = _mode(workload.cluster) == _TOKEN
        return (
            f"delete {_MODE}; authOptions is enough"
            if asked
            else f"delete {_MODE}, and {_AUTH_OPTIONS}"
        )
    return (
        f"delete {_MODE}, and {_OF_CLUSTER}"
        if workload.is_kuberay_pod
        else f"write value: {_TOKEN}"
    )


def _asks_for_tokens(cluster: ClusterSpec, workload: Workload, facts: Facts) -> bool:
    """KubeRay is asked for tokens, or will be when the RayCluster is made and `auth-token` completes it."""
    if _mode(cluster) == _TOKEN:
        return True
    version = ray_version(as_str(cluster.spec.get("rayVersion")))
    made_later = workload.kind != "RayCluster" and tls_by(workload) in (
        TlsBy.NOBODY,
        TlsBy.RAYWARDEN,
    )
    by_default = facts.injection.auth == _TOKEN and facts.injection.ray_cluster == "full"
    new_enough = version is not None and version >= TOKENS_SINCE
    return made_later and by_default and new_enough and cluster.spec.get("authOptions") is None


def _has_token_mode(container: Container) -> bool:
    return [as_str(entry.get("value")) for _, entry in container.variables.get(_MODE, ())] == [
        _TOKEN
    ]
