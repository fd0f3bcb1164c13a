"""The injection contract: the exact labels, variables, volumes and mounts of a managed Ray pod.

The mutation `ray-tls` writes them. The rules `tls-on` and `reserved-names` check every pod for
them.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from policies.configured import Injection
from policies.documents.paths import normal_path, overlap
from policies.documents.patterns import matches_any
from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Signer
from policies.ray.image import repository_of
from policies.ray.membership import RAY_CLUSTER_LABEL, has_opted_in
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import TLS_LABEL, TLS_MANAGED, Workload

MARKER_LABEL = TLS_LABEL
MANAGED = TLS_MANAGED
SECRET_ANNOTATION = "raywarden.io/tls-secret"
INJECTED_ANNOTATION = "raywarden.io/injected"
OPT_OUT = "raywarden.io/inject"

# The audience of a pod's token: no other service accepts it, and RayWarden accepts no other.
AUDIENCE = "raywarden.io"
RESERVED_PREFIX = "raywarden-"
TLS_VOLUME = "raywarden-tls"
TOKEN_VOLUME = "raywarden-token"
API_TOKEN_VOLUME = "raywarden-api-token"
TLS_DIRECTORY = "/etc/ray/tls"
TOKEN_DIRECTORY = "/var/run/secrets/raywarden.io"
API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"

POD_IP = "RAYWARDEN_POD_IP"
POD_IP_EXPANSION = f"$({POD_IP})"
# Any other value silently means plaintext (Ray `ray_config_def.h`).
RAY_READS_AS_ON = frozenset({"1", "true", "True", "TRUE"})
RAY_TLS_VARIABLES = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": f"{TLS_DIRECTORY}/tls.crt",
    "RAY_TLS_SERVER_KEY": f"{TLS_DIRECTORY}/tls.key",
    "RAY_TLS_CA_CERT": f"{TLS_DIRECTORY}/ca.crt",
}

_POD_IP_FIELD = {"apiVersion": "v1", "fieldPath": "status.podIP"}
# The variables of a Ray container, in order. The pod IP is first because Kubernetes expands
# `$(NAME)` only from variables that are listed earlier.
VARIABLES: Sequence[Mapping[str, Any]] = [
    {"name": POD_IP, "valueFrom": {"fieldRef": _POD_IP_FIELD}},
    *({"name": name, "value": value} for name, value in RAY_TLS_VARIABLES.items()),
]

TLS_MOUNT: Mapping[str, Any] = {"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY, "readOnly": True}
# Longer than any reference that a registry accepts.
_MAX_KNOWN_IMAGE = 500
# The containers besides the Ray container that KubeRay sets up for its own mTLS. It skips other
# init containers, even if they use Ray's image.
_GIVEN_TLS_BY_KUBERAY = frozenset({"autoscaler", "wait-gcs-ready"})


class TlsBy(StrEnum):
    """Who provides TLS in a workload."""

    RAYWARDEN = "raywarden"
    KUBERAY = "kuberay"
    AUTHOR = "author"
    NONE = "nobody"


def tls_by(workload: Workload) -> TlsBy:
    """Who provides TLS, as the object itself says.

    It says so by RayWarden's marker, by KubeRay's `tlsOptions`, or by Ray's variables. The marker
    takes precedence: an object that carries it must meet the contract, whatever else it says. TLS
    by the author or by KubeRay counts only if every pod has it, because a pod without it would use
    plaintext.
    """
    known = workload.memo.get("tls_by")
    if known is None:
        known = workload.memo["tls_by"] = _tls_by(workload)
    return TlsBy(known)


def _tls_by(workload: Workload) -> TlsBy:
    pods = [pod for pod in workload.pods if pod.role is not PodRole.SUBMITTER]
    # RayWarden adds nothing to pods that neither KubeRay nor an opt-in stands behind.
    if workload.labels.get(MARKER_LABEL) == MANAGED and not workload.is_bare:
        return TlsBy.RAYWARDEN
    if workload.cluster is None and any(has_opted_in(pod.labels) for pod in pods):
        return TlsBy.RAYWARDEN
    if workload.cluster and workload.cluster.kuberay_tls:
        return TlsBy.KUBERAY
    if workload.kind == "Pod" and pods and all(map(_set_up_by_kuberay, pods)):
        return TlsBy.KUBERAY
    if pods and all(map(_set_up_by_hand, pods)):
        return TlsBy.AUTHOR
    return TlsBy.NONE


def _set_up_by_kuberay(pod: Pod) -> bool:
    """The pod has KubeRay's mTLS: its containers use the volume `ray-tls` of KubeRay's Secret."""
    cluster = as_str(pod.labels.get(RAY_CLUSTER_LABEL))
    secrets = (f"ray-head-secret-{cluster}", f"ray-worker-secret-{cluster}")
    has_volume = any(
        volume.get("name") == "ray-tls"
        and as_dict(volume.get("secret")).get("secretName") in secrets
        for _, volume in pod.volumes
    )
    if not has_volume:
        return False
    for container in pod.ray_containers:
        expected = container is pod.ray_container or container.name in _GIVEN_TLS_BY_KUBERAY
        if expected and not (uses_tls(container) and _mounts_kuberay_tls(container)):
            return False
    return True


def _mounts_kuberay_tls(container: Container) -> bool:
    return any(
        mount.get("name") == "ray-tls" and is_tls_directory(mount.get("mountPath"))
        for _, mount in container.mounts
    )


def _set_up_by_hand(pod: Pod) -> bool:
    """Ray's four TLS variables are set once each and turn TLS on, with the author's own files."""
    ray = pod.ray_container
    if ray is None or not ray.variables.names >= RAY_TLS_VARIABLES.keys():
        return False
    once = all(len(ray.variables.of(name)) == 1 for name in RAY_TLS_VARIABLES)
    uses_raywarden_files = any(mount.get("name") == TLS_VOLUME for _, mount in ray.mounts)
    return once and not uses_raywarden_files and _literals(ray, "RAY_USE_TLS")[0] in RAY_READS_AS_ON


def opts_out(holder: Pod | Workload) -> str:
    """Where the object opts out: `labels`, `annotations`, or empty if it does not."""
    if holder.labels.get(OPT_OUT, "true") != "true":
        return "labels"
    if holder.annotations.get(OPT_OUT, "true") != "true":
        return "annotations"
    return ""


def is_opted_out(workload: Workload, facts: Facts) -> bool:
    """The object opts out, in a namespace where the administrator allows it."""
    patterns = facts.injection.opt_out_namespaces
    return bool(opts_out(workload)) and matches_any(facts.namespace, patterns)


def is_completed_later(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """`pod` is a template, and RayWarden adds what it lacks when its pods are created."""
    if workload.kind == "Pod":
        return False
    provider = tls_by(workload)
    if workload.kind == "RayCluster":
        return provider in (TlsBy.RAYWARDEN, TlsBy.NONE) and _is_only_marked(pod, facts)
    if pod.role is PodRole.SUBMITTER or provider is TlsBy.RAYWARDEN:
        return True
    # KubeRay makes a RayCluster from this object, and RayWarden mutates that.
    return workload.cluster is not None and provider is TlsBy.NONE


def _is_only_marked(pod: Pod, facts: Facts) -> bool:
    """The pod's RayCluster is, or was created, in `marker` mode."""
    if facts.injection.ray_cluster == "marker":
        return True
    before = facts.counterpart(pod)
    if before is None:
        return False
    return all(volume.get("name") != TLS_VOLUME for _, volume in before.volumes)


def has_own_variables(container: Container) -> bool:
    """RayWarden's variables are there as it writes them, and no others of their names."""
    return container.variables.has_in_a_row(VARIABLES)


def uses_tls(container: Container) -> bool:
    """Each of Ray's four TLS variables is set exactly once, to the value of the contract."""
    return all(_literals(container, name) == [value] for name, value in RAY_TLS_VARIABLES.items())


def _literals(container: Container, name: str) -> list[str]:
    """The values of a variable, with an empty string for each `valueFrom`."""
    return [as_str(entry.get("value")) for _, entry in container.variables.of(name)]


def is_pod_ip(entry: Mapping[str, Any]) -> bool:
    """`entry` is RayWarden's pod IP variable; the API server may have added the apiVersion."""
    if entry == VARIABLES[0]:
        return True
    field = as_dict(as_dict(entry.get("valueFrom")).get("fieldRef"))
    return entry.get("name") == POD_IP and field in ({"fieldPath": "status.podIP"}, _POD_IP_FIELD)


def own_secret(holder: Pod | Workload) -> str:
    """The Secret with the author's own certificate, used instead of enrollment; empty if none."""
    return as_str(holder.annotations.get(SECRET_ANNOTATION))


def volumes(secret: str) -> list[Mapping[str, Any]]:
    """The volumes of a pod: memory for key and certificate, and the token it enrolls with.

    With a `secret` it is the only volume, because the pod does not enroll.
    """
    if secret:
        return [{"name": TLS_VOLUME, "secret": {"secretName": secret, "defaultMode": 0o644}}]
    token = {"path": "token", "audience": AUDIENCE, "expirationSeconds": 600}
    sources = [{"serviceAccountToken": token}]
    return [
        {"name": TLS_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": TOKEN_VOLUME, "projected": {"sources": sources, "defaultMode": 0o644}},
    ]


# The volumes of a pod that enrolls.
ENROLLED: Sequence[Mapping[str, Any]] = volumes("")


def pod_ip_variable() -> dict[str, Any]:
    """The variable that has the address of the pod."""
    return {"name": POD_IP, "valueFrom": {"fieldRef": dict(_POD_IP_FIELD)}}


def missing_variables(present: Collection[str]) -> list[dict[str, Any]]:
    """The variables of a Ray container that are not among the names `present`, in order.

    The pod IP is first because Kubernetes expands `$(NAME)` only from variables that are listed
    earlier.
    """
    missing = [] if POD_IP in present else [pod_ip_variable()]
    for name, value in RAY_TLS_VARIABLES.items():
        if name not in present:
            missing.append({"name": name, "value": value})
    return missing


def user_of(container: Container, pod: Pod, injection: Injection) -> int | None:
    """The numeric user a container runs as, by its spec or its known image; None if unknown."""
    for context in (container.security_context, pod.security_context):
        user = context.get("runAsUser")
        if isinstance(user, int) and not isinstance(user, bool):
            return user
    image = container.image
    find = _user_of_image if len(image) <= _MAX_KNOWN_IMAGE else _user_of_image.__wrapped__
    return find(image, injection.users_of_images)


# The answer depends on the arguments alone. A long image, which no registry has, is not kept.
@lru_cache(maxsize=256)
def _user_of_image(image: str, users: tuple[tuple[str, int], ...]) -> int | None:
    repository = repository_of(image)
    for pattern, user in users:
        if fnmatchcase(repository, pattern):
            return user
    return None


def contract_hash(signer: Signer, injection: Injection) -> str:
    """Twelve hexadecimal digits that change with what RayWarden injects, for the annotation."""
    content = json.dumps([signer.image, signer.url, signer.ca, injection.model_dump(mode="json")])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


_TLS_PATH = normal_path(TLS_DIRECTORY)


def is_tls_directory(path: Any) -> bool:
    """`path` is a mount path that resolves to the certificate's directory."""
    # The cheap tests come first: most paths do not contain the directory's last part.
    if path == TLS_DIRECTORY:
        return True
    return isinstance(path, str) and "tls" in path and normal_path(path) == _TLS_PATH


def overlaps_tls_directory(path: str) -> bool:
    """`path` is the certificate's directory, a path in it, or a parent of it."""
    # The cheap test comes first: most paths are neither the root nor in /etc.
    if "etc" not in path and ".." not in path and path.strip("/."):
        return False
    return overlap(normal_path(path), _TLS_PATH)
