"""Finds a Ray cluster and its head with the caller's own rights."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from certs.client import ClusterName
from policies.documents.metadata import annotations_of, metadata_of, name_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection.contract import SECRET_ANNOTATION
from policies.ray.membership import (
    NODE_TYPE_LABEL,
    OPT_IN_CLUSTER_LABEL,
    OPT_IN_ROLE_LABEL,
    RAY_CLUSTER_LABEL,
)
from policies.ray.version import RayVersion, image_version, ray_version
from policies.ray.workload import Workload
from webhook.connect.problems import ConnectError, explained
from webhook.kube.api import KubeApi
from webhook.kube.client_requests import without_our_tls
from webhook.kube.memory import RAY_CLUSTERS
from webhook.kube.pods import PODS
from webhook.kube.request import NotFoundError

# The parameters of `ray start` that move a port, and the defaults.
_PORT_PARAMETERS = {"ray-client-server-port": 10001, "dashboard-port": 8265, "port": 6379}
_MAX_PORT_DIGITS = 5


@dataclass(frozen=True, slots=True)
class RayPorts:
    """The ports of a head that people use."""

    client: int = 10001
    dashboard: int = 8265
    gcs: int = 6379


@dataclass(frozen=True, slots=True)
class RayHead:
    """The head of a Ray cluster; `environment` is that of its Ray container, as entries."""

    cluster: ClusterName
    pod: str
    ports: RayPorts
    version: RayVersion | None
    environment: Mapping[str, Mapping[str, Any]]


async def find_head(api: KubeApi, namespace: str, name: str) -> RayHead:
    """The running head of a RayCluster, or of Ray without KubeRay; raises ConnectError."""
    with explained(namespace):
        document = await api.get(RAY_CLUSTERS, namespace, name)
    if document is None:
        return await _opted_in_head(api, namespace, name)
    problem = without_our_tls(document)
    if problem:
        raise ConnectError(
            f"RayCluster {namespace}/{name} {problem}; recreate it without TLS settings, "
            "so that RayWarden completes it"
        )
    if "deletionTimestamp" in metadata_of(document):
        raise ConnectError(f"RayCluster {namespace}/{name} is being deleted")
    labels = f"{RAY_CLUSTER_LABEL}={name},{NODE_TYPE_LABEL}=head"
    pod = _running(await _pods(api, namespace, labels), f"{namespace}/{name}")
    cluster = ClusterName(namespace, name)
    return _head(cluster, pod, _ports(document), as_dict(document.get("spec")).get("rayVersion"))


async def _opted_in_head(api: KubeApi, namespace: str, name: str) -> RayHead:
    cluster = ClusterName(namespace, name, opted_in=True)
    if not cluster.is_valid:
        raise ConnectError(f"{cluster} is not the name of a Ray cluster")
    labels = f"{OPT_IN_CLUSTER_LABEL}={name},{OPT_IN_ROLE_LABEL}=head,!{RAY_CLUSTER_LABEL}"
    pods = await _pods(api, namespace, labels)
    if not pods:
        raise ConnectError(await _no_such_cluster(api, namespace, name))
    pod = _running(pods, str(cluster))
    secret = as_str(annotations_of(pod).get(SECRET_ANNOTATION))
    if secret:
        raise ConnectError(
            f"{cluster} brings its own certificates (Secret {secret}), so RayWarden has none for "
            "you; use one of the CA that is in ca.crt of that Secret"
        )
    return _head(cluster, pod, RayPorts(), "")


async def _no_such_cluster(api: KubeApi, namespace: str, name: str) -> str:
    names: list[str] = []
    with explained(namespace):
        try:
            async with aclosing(api.pages(RAY_CLUSTERS, namespace=namespace)) as pages:
                async for page in pages:
                    names += map(name_of, page.items)
        except NotFoundError:
            pass
    message = f"there is no Ray cluster {name} in the namespace {namespace}"
    similar = get_close_matches(name, names, n=1)
    if similar:
        return f"{message}; did you mean {namespace}/{similar[0]}?"
    known = f"it has {', '.join(sorted(names)[:10])}" if names else "it has none"
    return f"{message} ({known}); look at `kubectl get rayclusters -A`"


async def _pods(api: KubeApi, namespace: str, labels: str) -> Sequence[Mapping[str, Any]]:
    pods: list[Mapping[str, Any]] = []
    with explained(namespace):
        async with aclosing(api.pages(PODS, namespace=namespace, labels=labels)) as pages:
            async for page in pages:
                pods += page.items
    return pods


def _running(pods: Sequence[Mapping[str, Any]], cluster: str) -> Mapping[str, Any]:
    """The head that is ready; raises ConnectError."""
    if not pods:
        raise ConnectError(
            f"{cluster} has no head yet: `kubectl describe raycluster` says why; try again later"
        )
    ready = [pod for pod in pods if _is_ready(pod)]
    if ready:
        return ready[-1]
    status = as_dict(pods[0].get("status"))
    phase = as_str(status.get("phase")) or "Pending"
    raise ConnectError(
        f"the head of {cluster} is not ready ({name_of(pods[0])} is {phase}): "
        "wait until `kubectl get pods` shows it ready, and try again"
    )


def _is_ready(pod: Mapping[str, Any]) -> bool:
    if "deletionTimestamp" in metadata_of(pod):
        return False
    conditions = dict_items(as_dict(pod.get("status")).get("conditions"))
    return any(
        (condition.get("type"), condition.get("status")) == ("Ready", "True")
        for _, condition in conditions
    )


def _head(cluster: ClusterName, pod: Mapping[str, Any], ports: RayPorts, stated: Any) -> RayHead:
    containers = [entry for _, entry in dict_items(as_dict(pod.get("spec")).get("containers"))]
    ray = containers[0] if containers else {}
    environment = {as_str(entry.get("name")): entry for _, entry in dict_items(ray.get("env"))}
    # The image runs; `rayVersion` is what the author wrote about it.
    version = image_version(as_str(ray.get("image"))) or ray_version(as_str(stated))
    return RayHead(cluster, name_of(pod), ports, version, environment)


def _ports(ray_cluster: Mapping[str, Any]) -> RayPorts:
    workload = Workload("RayCluster", ray_cluster)
    params = workload.cluster.head.start_params if workload.cluster else {}
    client, dashboard, gcs = (
        _port(params.get(name), default) for name, default in _PORT_PARAMETERS.items()
    )
    return RayPorts(client, dashboard, gcs)


def _port(value: Any, default: int) -> int:
    text = str(value)
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_PORT_DIGITS:
        return default
    return int(text) if 0 < int(text) < 65536 else default
