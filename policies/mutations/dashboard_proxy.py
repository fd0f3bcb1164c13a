"""Kubernetes identities for the dashboard: a proxy that asks the API server about its users."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

from policies.documents.draft import Draft
from policies.documents.untyped import as_str, clipped, list_length
from policies.injection import dashboard_proxy
from policies.injection.dashboard_proxy import LOOPBACK, PORT, VOLUMES
from policies.injection.token_choice import token_choice
from policies.model import Facts, Mutation
from policies.ray.auth import PROXIES, TOKEN_MODE, has_proxy, mode_of
from policies.ray.dashboard_proxy import (
    AUTHORIZATION_ANNOTATION,
    DASHBOARD_PROXY,
    has_dashboard_proxy,
)
from policies.ray.membership import ORIGIN_KIND_LABEL
from policies.ray.pod import Pod, PodRole
from policies.ray.workload import Group, Workload

_HOST = "dashboard-host"
_DASHBOARD_PORT = "dashboard-port"


class DashboardProxy(Mutation):
    """Puts kube-rbac-proxy in front of the dashboard, if `inject.dashboard` says so.

    By default it does nothing. With `rbac-proxy`, the dashboard listens on loopback and the proxy
    at the pod's address, both on port 8265. The proxy speaks TLS with the certificate of the pod,
    and asks the API server whose token a caller sends and whether that user may `get` the
    RayCluster, or `create` it to submit a job. RayClusters of a RayJob or RayService stay as they
    are, because KubeRay's operator speaks plain HTTP to their dashboard, and so do those whose
    author set `dashboard-host` or has a proxy.
    """

    id: ClassVar[str] = "dashboard-proxy"
    kinds: ClassVar[frozenset[str]] = frozenset({"RayCluster", "Pod"})
    roles: ClassVar[frozenset[PodRole]] = frozenset({PodRole.HEAD})

    def mutate_pod(self, draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> Iterable[str]:
        """Changes the head of a RayCluster; KubeRay's head pods get the current image."""
        if workload.cluster:
            return _mutate_head(draft, workload.cluster.head, workload, facts)
        if workload.is_kuberay_pod and has_dashboard_proxy(pod):
            _complete(draft, pod, workload, facts)
        return ()


def _mutate_head(draft: Draft, head: Group, workload: Workload, facts: Facts) -> Iterator[str]:
    if facts.before is not None:
        before = facts.counterpart(head.pod)
        if before is not None and has_dashboard_proxy(before):
            _restore(draft, head, before)
        return
    if facts.injection.dashboard != "rbac-proxy" or _stays_as_it_is(workload):
        return
    obstacle = _obstacle(head)
    if obstacle:
        yield f"the dashboard gets no proxy: {obstacle}"
        return
    draft.set(head.pointer / "rayStartParams", _HOST, LOOPBACK)
    _annotate(draft, head.pod, dashboard_proxy.authorization_of(head.pod, workload, facts))
    if not facts.only_marks(workload):
        _put_current(draft, head.pod, facts)
    # The second call for a request needs to say nothing.
    if not has_dashboard_proxy(head.pod):
        yield _way_in(workload, facts)


def _way_in(workload: Workload, facts: Facts) -> str:
    text = (
        "the dashboard of this cluster now speaks HTTPS and needs a Kubernetes token: send "
        "Authorization: Bearer TOKEN, as a user who may get this RayCluster (create, to submit "
        "jobs)"
    )
    asks_itself = mode_of(workload.cluster) == TOKEN_MODE or token_choice(workload, facts).options
    return f"{text}; Ray's own token goes into X-Ray-Authorization" if asks_itself else text


def _stays_as_it_is(workload: Workload) -> bool:
    """KubeRay's operator calls the dashboard of this cluster, or its author set up a proxy."""
    cluster = workload.cluster
    if cluster is None or ORIGIN_KIND_LABEL in workload.labels:
        return True
    parameters = cluster.head.start_params
    if as_str(parameters.get("include-dashboard")).lower() == "false":
        return True
    is_ours = has_dashboard_proxy(cluster.head.pod)
    closed_by_author = parameters.get(_HOST) == LOOPBACK and not is_ours
    return closed_by_author or has_proxy(cluster, PROXIES)


def _obstacle(head: Group) -> str:
    """Why the proxy could not work, or would change what the author chose; empty if it can."""
    host, port = head.start_params.get(_HOST), head.start_params.get(_DASHBOARD_PORT)
    if host not in (None, LOOPBACK):
        return f"the head sets {_HOST}: {clipped(as_str(host))}; remove it from rayStartParams"
    if port not in (None, str(PORT)):
        return f"the head sets {_DASHBOARD_PORT}; remove it from rayStartParams"
    return ""


def _restore(draft: Draft, head: Group, before: Pod) -> None:
    """Keep what was stored, because KubeRay recreates a cluster whose spec has changed."""
    if head.start_params.get(_HOST) is None:
        draft.set(head.pointer / "rayStartParams", _HOST, LOOPBACK)
    _annotate(draft, head.pod, as_str(before.annotations.get(AUTHORIZATION_ANNOTATION)))
    stored = before.container(DASHBOARD_PROXY)
    if stored is not None:
        volumes = [raw for _, raw in before.volumes if as_str(raw.get("name")) in VOLUMES]
        _put(draft, head.pod, stored.raw, volumes)


def _complete(draft: Draft, pod: Pod, workload: Workload, facts: Facts) -> None:
    """The pod's own annotation and, if the policy file names an image, the current container."""
    _annotate(draft, pod, dashboard_proxy.authorization_of(pod, workload, facts))
    if facts.injection.dashboard_proxy_image:
        _put_current(draft, pod, facts)


def _put_current(draft: Draft, pod: Pod, facts: Facts) -> None:
    expected = dashboard_proxy.build(pod, facts.injection.dashboard_proxy_image, facts)
    present = pod.container(DASHBOARD_PROXY)
    if present is not None and dashboard_proxy.is_current(present.raw, expected):
        expected = dict(present.raw)
    _put(draft, pod, expected, list(dashboard_proxy.volumes()))


def _put(
    draft: Draft, pod: Pod, container: Mapping[str, Any], volumes: list[Mapping[str, Any]]
) -> None:
    present = pod.container(DASHBOARD_PROXY)
    if present is None:
        number = list_length(pod.spec.get("containers"))
        draft.insert(pod.spec_pointer, "containers", number, [container])
    elif present.list_name == "containers" and present.raw != container:
        draft.replace(present.pointer, container)
    names = {as_str(volume.get("name")) for _, volume in pod.volumes}
    missing = [volume for volume in volumes if volume["name"] not in names]
    draft.insert(pod.spec_pointer, "volumes", list_length(pod.spec.get("volumes")), missing)


def _annotate(draft: Draft, pod: Pod, text: str) -> None:
    draft.set(pod.pointer / "metadata" / "annotations", AUTHORIZATION_ANNOTATION, text)
