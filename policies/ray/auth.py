"""How Ray authenticates its callers: the mode, and where each container takes the token from.

Sources: Ray 2.60 `src/ray/rpc/authentication/authentication_mode.cc`,
`authentication_token_loader.cc` and `python/ray/_private/authentication/`; KubeRay 1.7
`controllers/ray/common/pod.go` (`SetContainerTokenAuthEnvVars`).
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.dashboard_proxy import DASHBOARD_PROXY
from policies.ray.image import repository_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import ClusterSpec, Workload

MODE = "RAY_AUTH_MODE"
TOKEN = "RAY_AUTH_TOKEN"
TOKEN_PATH = "RAY_AUTH_TOKEN_PATH"
KUBERNETES_TOKENS = "RAY_ENABLE_K8S_TOKEN_AUTH"
TOKEN_MODE = "token"
# Images of authenticating proxies, each by the last part of its repository.
PROXIES = (
    "kube-rbac-proxy",
    "oauth2-proxy",
    "oauth-proxy",
    "ose-oauth-proxy",
    "ose-oauth-proxy-rhel9",
)
LOOPBACK = ("127.0.0.1", "localhost")
_VARIABLES = frozenset({TOKEN, TOKEN_PATH})
_ALL = frozenset({MODE, TOKEN, TOKEN_PATH, KUBERNETES_TOKENS})

# Where KubeRay mounts a pod's own Kubernetes token for Ray.
_TOKEN_DIRECTORY = "/var/run/secrets/ray.io/serviceaccount"

# `$$(NAME)` is an escape; Kubernetes does not expand it.
_REFERENCE = re.compile(r"(?<!\$)\$\(([^()\s]+)\)")
# Writes files from a vault. Kubernetes cannot show their content, as with a Secret.
_SECRETS_STORE = "secrets-store.csi.k8s.io"
_FIELDS = ("fieldRef", "resourceFieldRef")


@dataclass(frozen=True, slots=True)
class TokenSource:
    """A variable that says which token a container uses.

    `origin` says where the token comes from if that is not a Secret. It is `public` if people can
    read or guess the token in the object: it is `literal`, or a field of the pod.
    """

    name: str
    pointer: Pointer
    origin: str = ""
    public: bool = False
    literal: bool = False


def mode_of(cluster: ClusterSpec | None) -> str:
    """The mode for which KubeRay sets the variables; without one, KubeRay sets none."""
    return as_str(as_dict(cluster.spec.get("authOptions")).get("mode")) if cluster else ""


def has_token_mode(container: Container) -> bool:
    """The container requires a token; Ray ignores the case of the value."""
    entries = container.variables.of(MODE)
    return [as_str(entry.get("value")).lower() for _, entry in entries] == [TOKEN_MODE]


def uses_kubernetes_tokens(container: Container, cluster: ClusterSpec | None) -> bool:
    """Ray asks the API server about each token, so no token of its own exists."""
    if KUBERNETES_TOKENS in container.variables.names:
        entries = container.variables.of(KUBERNETES_TOKENS)
        return all(reads_as_true(entry) for _, entry in entries)
    return cluster is not None and cluster.kubernetes_tokens


def reads_as_true(variable: Mapping[str, Any]) -> bool:
    """Ray (`RayConfig`) reads an entry of `env` as a boolean that is true."""
    return as_str(variable.get("value")).lower() in ("true", "1")


def names_a_token(workload: Workload) -> bool:
    """The author chose a token for a container; most leave that to KubeRay."""
    if _VARIABLES.isdisjoint(workload.summary.variables):
        return False
    return any(map(_names_token, workload.ray_containers))


def names_authentication(workload: Workload) -> bool:
    """The author chose a mode or a token for a container."""
    if _ALL.isdisjoint(workload.summary.variables):
        return False
    return any(not _ALL.isdisjoint(item.variables.names) for item in workload.ray_containers)


def has_proxy(cluster: ClusterSpec, proxies: Collection[str]) -> bool:
    """The author runs one of these proxies beside the head; RayWarden's own does not count."""
    others = (item for item in cluster.head.pod.containers if item.name != DASHBOARD_PROXY)
    images = (repository_of(container.image) for container in others)
    return any(image.rpartition("/")[2] in proxies for image in images)


def proxies_of(cluster: ClusterSpec) -> frozenset[str]:
    """What may stand before a dashboard that listens on loopback: names of the head's images.

    RayWarden's own proxy has the name of its container. Empty if the dashboard is not on loopback.
    """
    if cluster.head.start_params.get("dashboard-host") not in LOOPBACK:
        return frozenset()
    names = (
        item.name if item.name == DASHBOARD_PROXY else repository_of(item.image).rpartition("/")[2]
        for item in cluster.head.pod.containers
    )
    return frozenset(names)


def token_containers(workload: Workload) -> Iterator[tuple[Container, Pod]]:
    """Each Ray container that names a token, with the pod whose volumes it has.

    With Kubernetes tokens, the API server decides which token is accepted.
    """
    cluster = workload.cluster
    for pod in workload.pods:
        for container in pod.ray_containers:
            if _names_token(container) and not uses_kubernetes_tokens(container, cluster):
                yield container, pod
    for options in cluster.options if cluster else ():
        if cluster and _names_token(options) and not uses_kubernetes_tokens(options, cluster):
            yield options, cluster.head.pod


def missing_authentication(container: Container, ray: Container) -> list[Mapping[str, Any]]:
    """What a container lacks to send the same token as Ray's own container of its pod.

    KubeRay adds it to the containers that it knows. An author's choice stays, and what is not a
    reference to a Secret is not copied.
    """
    missing = _copyable(ray, MODE) if MODE not in container.variables.names else []
    if container.variables.names.isdisjoint({*_VARIABLES, KUBERNETES_TOKENS}):
        missing += [*_copyable(ray, KUBERNETES_TOKENS), *_copyable(ray, TOKEN)]
    return missing


def missing_token_mount(container: Container, ray: Container) -> Mapping[str, Any] | None:
    """The mount of the pod's own Kubernetes token (`AddRayTokenVolume`), if only Ray's has it."""
    return None if _token_mount(container) else _token_mount(ray)


def token_sources(container: Container, pod: Pod) -> Iterator[TokenSource]:
    """The variables that are set.

    Ray uses the first that is not empty, and without any the file `~/.ray/auth_token`. If a name
    occurs more than once, each entry counts, because an entry from an optional Secret that is
    missing leaves the earlier value in place.
    """
    for index, entry in container.variables.of(TOKEN):
        if _is_set(entry):
            yield _source_of_variable(container, index, entry)
    for index, entry in container.variables.of(TOKEN_PATH):
        if _is_set(entry):
            place = container.pointer / "env" / index
            yield TokenSource(TOKEN_PATH, place, _origin_of_file(entry, container, pod))


def unprotected_sources(container: Container, pod: Pod) -> Iterator[TokenSource]:
    """The sources that are not a Secret."""
    return (source for source in token_sources(container, pod) if source.origin)


def only_the_head_requires_a_token(pods: Sequence[Pod]) -> bool:
    """The head has a token but no mode, and another pod does not send a token.

    From `HEAD_AUTH_SINCE` on, such a head turns authentication on. A token file in its image has
    the same effect but cannot be seen.
    """
    heads = [pod for pod in pods if pod.role is PodRole.HEAD]
    if not heads or not all(map(_finds_token, heads)):
        return False
    others = [pod.ray_container for pod in pods if pod.role is not PodRole.HEAD]
    return not others or not all(ray is not None and has_token_mode(ray) for ray in others)


def _finds_token(pod: Pod) -> bool:
    ray = pod.ray_container
    if ray is None or MODE in ray.variables.names:
        return False
    if any(token_sources(ray, pod)):
        return True
    paths = [as_str(mount.get("mountPath")) for _, mount in ray.mounts]
    return any(".ray" in path and _is_token_file(_parts(path)) for path in paths)


def _is_token_file(path: tuple[str, ...]) -> bool:
    """The path is that of Ray's token file in some home directory, or of its directory."""
    return path[-1:] == (".ray",) or path[-2:] == (".ray", "auth_token")


def _token_mount(container: Container) -> Mapping[str, Any] | None:
    for _, mount in container.mounts:
        if as_str(mount.get("mountPath")).rstrip("/") == _TOKEN_DIRECTORY:
            return mount
    return None


def _copyable(ray: Container, name: str) -> list[Mapping[str, Any]]:
    """The entry of a variable, if it is the only one and holds no token itself."""
    entries = [entry for _, entry in ray.variables.of(name)]
    if len(entries) != 1:
        return []
    return [] if name == TOKEN and "valueFrom" not in entries[0] else entries


def _names_token(container: Container) -> bool:
    return not _VARIABLES.isdisjoint(container.variables.names)


def _is_set(entry: Mapping[str, Any]) -> bool:
    return entry.get("valueFrom") is not None or as_str(entry.get("value")) != ""


def _source_of_variable(container: Container, index: int, entry: Mapping[str, Any]) -> TokenSource:
    place = container.pointer / "env" / index
    source = as_dict(entry.get("valueFrom"))
    if not source:
        if _contains_secret(as_str(entry.get("value")), index, container):
            return TokenSource(TOKEN, place)
        return TokenSource(TOKEN, place, "the manifest", public=True, literal=True)
    if "secretKeyRef" in source:
        optional = as_dict(source.get("secretKeyRef")).get("optional") is True
        return TokenSource(TOKEN, place, "an optional Secret" if optional else "")
    if any(field in source for field in _FIELDS):
        return TokenSource(TOKEN, place, "a field of the pod", public=True)
    return TokenSource(TOKEN, place, "a ConfigMap or a file")


def _contains_secret(value: str, index: int, container: Container) -> bool:
    """The value refers to an earlier variable that comes from a Secret.

    Kubernetes leaves a reference to a later or missing variable as it is written.
    """
    for name in _REFERENCE.findall(value):
        entries = container.variables.of(name)
        if entries and all(
            position < index and _is_required_secret(entry) for position, entry in entries
        ):
            return True
    return False


def _is_required_secret(entry: Mapping[str, Any]) -> bool:
    reference = as_dict(entry.get("valueFrom")).get("secretKeyRef")
    return isinstance(reference, dict) and reference.get("optional") is not True


def _origin_of_file(entry: Mapping[str, Any], container: Container, pod: Pod) -> str:
    value = as_str(entry.get("value"))
    path = _parts(value)
    if not value.startswith("/") or ".." in path or "$(" in value:
        return "a file that cannot be verified"
    nearest, volume = -1, ""
    for _, mount in container.mounts:
        directory = _parts(as_str(mount.get("mountPath")))
        if path[: len(directory)] == directory and len(directory) > nearest:
            nearest, volume = len(directory), as_str(mount.get("name"))
    if nearest < 0:
        return "a file of the image"
    mounted = (raw for _, raw in pod.volumes if raw.get("name") == volume)
    return "" if any(map(_is_secret, mounted)) else "a volume that is not a Secret"


def _is_secret(volume: Mapping[str, Any]) -> bool:
    if "secret" in volume:
        return True
    if as_dict(volume.get("csi")).get("driver") == _SECRETS_STORE:
        return True
    sources = [raw for _, raw in dict_items(as_dict(volume.get("projected")).get("sources"))]
    return bool(sources) and all(
        "secret" in source or "serviceAccountToken" in source for source in sources
    )


def _parts(path: str) -> tuple[str, ...]:
    """The names in a path. The kubelet mounts a relative path below the root."""
    return tuple(part for part in path.split("/") if part not in ("", "."))
