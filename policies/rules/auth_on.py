"""Ray requires token authentication."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.cluster.pod_isolation import Isolation, is_closed, isolation, open_rules
from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.injection.dashboard_proxy import will_have_proxy
from policies.injection.network import planned_isolation
from policies.injection.token_fix import mode_fix, source_fix, token_fix
from policies.injection.token_mode import gets_token_mode, pods_that_speak_ray
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.auth import (
    LOOPBACK,
    MODE,
    PROXIES,
    TOKEN,
    TOKEN_MODE,
    TokenSource,
    has_proxy,
    has_token_mode,
    mode_of,
    names_a_token,
    only_the_head_requires_a_token,
    token_containers,
    token_sources,
    unprotected_sources,
    uses_kubernetes_tokens,
)
from policies.ray.dashboard_proxy import DASHBOARD_PROXY
from policies.ray.membership import RAY_CLUSTER_LABEL
from policies.ray.pod import Container, Pod
from policies.ray.version import (
    AGENT_AUTH_SINCE,
    HEAD_AUTH_SINCE,
    TOKEN_AUTH_SINCE,
    dotted,
    versions_of,
)
from policies.ray.workload import Workload

_OFF = frozenset({"", "disabled"})
_FIX_KUBERNETES_TOKENS = (
    "put TLS in front of port 8265, and give the service accounts of the Ray pods no permissions "
    "that Ray does not need"
)


class AuthOn(Rule):
    """Refuses Ray without authentication, by token or by a proxy in front of isolated pods.

    Token authentication is on with `authOptions.mode: token`, or with RAY_AUTH_MODE set to `token`
    in the Ray containers and RAY_AUTH_TOKEN from a Secret. By default, RayWarden writes
    `authOptions` into new RayClusters from Ray 2.54 on (`inject.auth`); what it will write counts.
    The profile `baseline` already refuses modes that Ray silently treats as off, and tokens that
    stand in the manifest or are a field of the pod. A proxy, also RayWarden's (`inject.dashboard`),
    counts if it runs beside the head, the head sets `dashboard-host: 127.0.0.1`, and
    NetworkPolicies isolate the pods, because the dashboard agent on port 52365 still listens on
    every address. Before Ray 2.54 that agent does not check the token, so these versions need such
    NetworkPolicies even if token authentication is on.
    Why: with TLS alone, any pod that can reach `http://POD:52365/api/job_agent/jobs/` can run a
    command (CVE-2023-48022, which Ray's defaults never fixed).
    Fix: set `authOptions: {mode: token}` in the cluster's spec (Ray 2.52 and KubeRay 1.5.1 or
    later).
    """

    id: ClassVar[str] = "auth-on"
    profile: ClassVar[Profile] = Profile.RESTRICTED
    from_level: ClassVar[Profile | None] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    proxies: tuple[str, ...] = Field(
        PROXIES,
        description="images of authenticating proxies, each by the last part of its repository",
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        wrong_values = list(self._check_values(workload, facts))
        yield from wrong_values
        cluster = workload.cluster
        by_kuberay = cluster is not None and gets_token_mode(cluster, workload, facts)
        if names_a_token(workload):
            yield from self._check_sources(workload, by_kuberay)
        if by_kuberay and mode_of(cluster) != TOKEN_MODE:
            yield from self._check_interactive(workload)
        pods = pods_that_speak_ray(workload)
        if pods and not wrong_values:
            yield from self._check_pods(workload, pods, facts, by_kuberay)

    def _check_interactive(self, workload: Workload) -> Iterator[Violation]:
        """RayWarden turns tokens on, and the job is submitted before anyone can read the token."""
        spec = as_dict(workload.document.get("spec"))
        if workload.kind == "RayJob" and spec.get("submissionMode") == "InteractiveMode":
            yield self.violation(
                "in InteractiveMode, people submit the job themselves: they need the token of the "
                "RayCluster, which kubectl ray job submit does not read",
                Pointer(("spec", "submissionMode")),
                "create a Secret with the key auth_token, name it in authOptions: {mode: token, "
                "secretName: NAME} (KubeRay 1.6 or later), and submit with RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN",
                advisory=True,
            )

    def _check_pods(
        self, workload: Workload, pods: list[Pod], facts: Facts, by_kuberay: bool
    ) -> Iterator[Violation]:
        """Every pod that serves Ray's ports must authenticate its callers."""
        cluster = workload.cluster
        without_token: list[Pod] = []
        if not by_kuberay:
            without_token = [pod for pod in pods if not all(map(has_token_mode, _servers(pod)))]
        if not without_token:
            yield from self._check_missing_tokens(workload, pods, by_kuberay)
            yield from self._check_kubernetes_tokens(workload, pods)
            yield from self._check_agent(workload, facts)
            return
        place = cluster.pointer / "authOptions" if cluster else without_token[0].spec_pointer
        if only_the_head_requires_a_token(pods) and any(
            version >= HEAD_AUTH_SINCE for version, _ in versions_of(workload)
        ):
            message = (
                f"from Ray {dotted(HEAD_AUTH_SINCE)} on, a head with a token but without {MODE} "
                "requires the token, and workers do not send it: no worker can join"
            )
            yield self.violation(message, place, token_fix(workload, facts))
            return
        if self._is_proxied(workload, facts) and _is_closed(workload, facts):
            return
        # A cluster and its pods get the same words, so that they count as one finding.
        titles = [f"the {pod.title}" for pod in without_token]
        if len(without_token) == len(pods):
            titles = ["the pods"]
        for title in titles:
            message = (
                f"Ray token authentication is off: anyone who can reach {title} can run code there"
            )
            yield self.violation(message, place, token_fix(workload, facts))

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
        if _is_closed(workload, facts):
            return
        version, place = older
        planned = planned_isolation(workload, facts)
        groups = isolation(workload, facts.namespace_state, planned)
        is_open = any(group.isolation is Isolation.OPEN for group in groups) or any(
            open_rules(workload, planned)
        )
        report = self.violation if is_open else self.unknown
        yield report(
            f"the dashboard agent of Ray {dotted(version)} does not check the token: anyone who "
            "can reach port 52365 can run code",
            place,
            f"use Ray {dotted(AGENT_AUTH_SINCE)} or later in rayVersion and in every image; until "
            "then, restrict access to the pods with a NetworkPolicy",
        )

    def _check_values(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """RAY_AUTH_MODE as the author wrote it, which overrides what KubeRay would write."""
        if MODE not in workload.summary.variables:
            return
        for container in workload.ray_containers:
            entries = container.variables.of(MODE)
            for index, entry in entries:
                message = _problem_with_mode(workload, entry, repeated=len(entries) > 1)
                if message:
                    yield self.violation(
                        f"{container.title} {message}",
                        container.pointer / "env" / index,
                        mode_fix(workload, facts),
                        profile=Profile.BASELINE,
                    )

    def _check_sources(self, workload: Workload, by_kuberay: bool) -> Iterator[Violation]:
        """Tokens that the author chose; KubeRay does not replace them."""
        for container, pod in token_containers(workload):
            if by_kuberay and TOKEN not in container.variables.names:
                continue  # KubeRay's own token takes precedence over a file.
            for source in unprotected_sources(container, pod):
                why = "Ray accepts everyone who reads or guesses it"
                if not source.public:
                    why = "only a Secret protects a token"
                yield self.violation(
                    f"{container.title} takes its Ray token from {source.origin} "
                    f"({source.name}); {why}",
                    source.pointer,
                    source_fix(source, by_kuberay),
                    profile=Profile.BASELINE if source.public else None,
                )

    def _check_missing_tokens(
        self, workload: Workload, pods: list[Pod], by_kuberay: bool
    ) -> Iterator[Violation]:
        """Containers that require a token without a visible source."""
        for pod in pods:
            for container in _servers(pod):
                # KubeRay adds the token unless the author has named it, even with an empty value.
                if by_kuberay and TOKEN not in container.variables.names:
                    continue
                if uses_kubernetes_tokens(container, workload.cluster):
                    continue
                if not any(token_sources(container, pod)):
                    yield self.violation(
                        f"{container.title} requires a token but does not take it from a "
                        "Secret, so Ray does not start or uses a token file of the image",
                        container.pointer / "env",
                        source_fix(TokenSource(TOKEN, container.pointer), by_kuberay),
                    )

    def _check_kubernetes_tokens(self, workload: Workload, pods: list[Pod]) -> Iterator[Violation]:
        """What else Kubernetes token authentication does; KubeRay `AddRayTokenVolume`."""
        cluster = workload.cluster
        if workload.is_kuberay_pod:
            return
        for pod in pods:
            ray = pod.ray_container
            if ray is None or not uses_kubernetes_tokens(ray, cluster):
                continue
            place = cluster.pointer / "authOptions" if cluster else pod.spec_pointer
            yield self.violation(
                "Ray checks its callers' Kubernetes tokens: users send them to port 8265 in clear "
                "text, and every Ray pod gets an API token, whatever automountServiceAccountToken "
                "says",
                place,
                _FIX_KUBERNETES_TOKENS,
                advisory=True,
            )
            return

    def _is_proxied(self, workload: Workload, facts: Facts) -> bool:
        cluster = workload.cluster
        if workload.is_kuberay_pod:
            # Which containers the head has is known only from the pod's RayCluster.
            name = as_str(workload.labels.get(RAY_CLUSTER_LABEL))
            live = (facts.namespace_state.ray_clusters or {}).get(name)
            accepted = {*self.proxies, DASHBOARD_PROXY}
            return live is not None and not accepted.isdisjoint(live.dashboard_proxies)
        if cluster is None or cluster.head.start_params.get("dashboard-host") not in LOOPBACK:
            return False
        return has_proxy(cluster, self.proxies) or will_have_proxy(
            cluster.head.pod, workload, facts
        )


def _is_closed(workload: Workload, facts: Facts) -> bool:
    """NetworkPolicies isolate all pods of the workload, or will as soon as it is admitted."""
    return is_closed(workload, facts.namespace_state, planned_isolation(workload, facts))


def _servers(pod: Pod) -> Iterator[Container]:
    """The containers that serve Ray's ports: the Ray container, and others that run `ray start`."""
    for container in pod.ray_containers:
        if container is pod.ray_container or container.ray_starts:
            yield container


def _problem_with_mode(workload: Workload, entry: Mapping[str, Any], *, repeated: bool) -> str:
    """What is wrong with one RAY_AUTH_MODE; empty if nothing is."""
    value = as_str(entry.get("value"))
    mode = value.lower()
    if entry.get("valueFrom") is not None:
        return f"takes {MODE} from elsewhere, so its value cannot be verified"
    if mode != TOKEN_MODE and (mode not in _OFF or repeated):
        return f'sets {MODE} to "{value}"; Ray authenticates only if it is "{TOKEN_MODE}"'
    if mode in _OFF and mode_of(workload.cluster) == TOKEN_MODE:
        return f"sets {MODE}, which turns off the token authentication that authOptions turns on"
    return ""
