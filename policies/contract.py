"""What a Ray pod under our care carries, to the letter: names, variables, volumes, init container.

The mutation `ray-tls` writes it, the rules `tls-on` and `reserved-names` hold every pod against it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.model import Facts, Injection, Signer
from policies.pod import ENROLL_CONTAINER, Container, Pod
from policies.reading import elements, mapping, text
from policies.workload import OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL, Workload

MARKER_LABEL = "raywarden.io/tls"
MANAGED = "managed"
SECRET_ANNOTATION = "raywarden.io/tls-secret"
INJECTED_ANNOTATION = "raywarden.io/injected"

RESERVED_PREFIX = "raywarden-"
TLS_VOLUME = "raywarden-tls"
TOKEN_VOLUME = "raywarden-token"
TLS_DIRECTORY = "/etc/ray/tls"
TOKEN_DIRECTORY = "/var/run/secrets/raywarden.io"
API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"

POD_IP = "RAYWARDEN_POD_IP"
POD_IP_EXPANSION = f"$({POD_IP})"
# Ray reads only 1, true, True and TRUE as on; everything else silently means plaintext (Ray `ray_config_def.h`).
RAY_READS_AS_ON = frozenset({"1", "true", "True", "TRUE"})
RAY_TLS_VARIABLES = {
    "RAY_USE_TLS": "1",
    "RAY_TLS_SERVER_CERT": f"{TLS_DIRECTORY}/tls.crt",
    "RAY_TLS_SERVER_KEY": f"{TLS_DIRECTORY}/tls.key",
    "RAY_TLS_CA_CERT": f"{TLS_DIRECTORY}/ca.crt",
}

POD_IP_VARIABLE: Mapping[str, Any] = {
    "name": POD_IP,
    "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}},
}
# The variables of a Ray container, in order: the pod IP first, because others are expanded from it.
VARIABLES: tuple[Mapping[str, Any], ...] = (
    POD_IP_VARIABLE,
    *({"name": name, "value": value} for name, value in RAY_TLS_VARIABLES.items()),
)

TLS_MOUNT: Mapping[str, Any] = {"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY, "readOnly": True}

# KubeRay appends these to every init container of a pod it builds (`setInitContainerEnvVars`).
_ADDED_BY_KUBERAY = frozenset({"FQ_RAY_IP", "RAY_IP"})
# What the API server fills in on any container.
_ADDED_BY_API_SERVER = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
# The key is readable by Ray's user alone where that user is known; by the pod's group where it has one; else by all
# who can see the volume, which only Ray containers mount.
_OWNER_ONLY, _GROUP, _EVERYONE = "0400", "0440", "0444"


class TlsBy(StrEnum):
    """Who sees to TLS in a workload."""

    RAYWARDEN = "raywarden"
    KUBERAY = "kuberay"
    AUTHOR = "author"
    NOBODY = "nobody"


def tls_by(workload: Workload) -> TlsBy:
    """Who sees to TLS, as the object itself says: our marker, KubeRay's `tlsOptions`, variables set by hand.

    The marker comes first: an object that claims our care is held to our contract, whatever else it says.
    """
    if workload.labels.get(MARKER_LABEL) == MANAGED or any(OPT_IN_CLUSTER_LABEL in pod.labels for pod in workload.pods):
        return TlsBy.RAYWARDEN
    if workload.cluster and workload.cluster.kuberay_tls:
        return TlsBy.KUBERAY
    if any(_kuberay_mounts_tls(pod) for pod in workload.pods):
        return TlsBy.KUBERAY
    if any(_hand_made(pod) for pod in workload.pods):
        return TlsBy.AUTHOR
    return TlsBy.NOBODY


def _kuberay_mounts_tls(pod: Pod) -> bool:
    """KubeRay's mTLS as it shows in a pod: volume `ray-tls` from the Secret it names after the cluster."""
    cluster = text(pod.labels.get(RAY_CLUSTER_LABEL))
    secrets = (f"ray-head-secret-{cluster}", f"ray-worker-secret-{cluster}")
    return bool(cluster) and any(
        volume.get("name") == "ray-tls" and mapping(volume.get("secret")).get("secretName") in secrets
        for _, volume in pod.volumes
    )


def _hand_made(pod: Pod) -> bool:
    """All four Ray TLS variables are set, TLS is on by them, and the files are not ours."""
    ray = pod.ray_container
    if ray is None or not ray.variable_names >= RAY_TLS_VARIABLES.keys():
        return False
    _, last = ray.variables["RAY_USE_TLS"][-1]
    ours = any(mount.get("name") == TLS_VOLUME for _, mount in ray.mounts)
    return text(last.get("value")) in RAY_READS_AS_ON and not ours


def own_secret(holder: Pod | Workload) -> str:
    """The Secret with the author's own certificate, which then takes the place of enrolment; empty for none."""
    return text(holder.annotations.get(SECRET_ANNOTATION))


def volumes(secret: str) -> Iterator[dict[str, Any]]:
    """The volumes of a pod: memory for key and certificate and the token it enrols with, or the author's `secret`."""
    if secret:
        yield {"name": TLS_VOLUME, "secret": {"secretName": secret, "defaultMode": 0o644}}
        return
    yield {"name": TLS_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    token = {"path": "token", "audience": "raywarden.io", "expirationSeconds": 600}
    yield {"name": TOKEN_VOLUME, "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o644}}


def enroll_container(pod: Pod, facts: Facts) -> dict[str, Any]:
    """The init container that makes the key, asks for the certificate and writes both for Ray to read."""
    user, mode = _key_reader(pod, facts.injection)
    signer = facts.signer
    return {
        "name": ENROLL_CONTAINER,
        "image": signer.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["raywarden", "enroll"],
        "args": ["--key-mode", mode],
        "env": [
            POD_IP_VARIABLE,
            {"name": "RAYWARDEN_SIGNER_URL", "value": signer.url},
            {"name": "RAYWARDEN_SIGNER_CA", "value": signer.ca},
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "128Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            **({"runAsUser": user} if user else {}),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [
            {"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY},
            {"name": TOKEN_VOLUME, "mountPath": TOKEN_DIRECTORY, "readOnly": True},
        ],
    }


def _key_reader(pod: Pod, injection: Injection) -> tuple[int | None, str]:
    """The user to write the key as (None: the image's own), and the narrowest mode in which Ray can still read it."""
    users = {user_of(container, pod, injection) for container in pod.ray_containers}
    if len(users) == 1 and (user := users.pop()):
        return user, _OWNER_ONLY
    return None, _GROUP if isinstance(pod.security_context.get("fsGroup"), int) else _EVERYONE


def user_of(container: Container, pod: Pod, injection: Injection) -> int | None:
    """The numeric user a container is known to run as: as the spec says, else as its image is known to; else None."""
    for context in (container.security_context, pod.security_context):
        user = context.get("runAsUser")
        if isinstance(user, int) and not isinstance(user, bool):
            return user
    repository = repository_of(container.image)
    return next((known.uid for known in injection.non_root_images if fnmatchcase(repository, known.image)), None)


def repository_of(image: str) -> str:
    """An image reference without tag, digest and Docker Hub's own name: `docker.io/team/ray:2.52.0` -> `team/ray`."""
    name = image.partition("@")[0].removeprefix("index.").removeprefix("docker.io/")
    path, slash, last = name.rpartition("/")
    return path + slash + last.partition(":")[0]


def conforms(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """`container` is the init container `ours`, give or take what KubeRay and the API server add to any container."""
    raw = dict(container)
    for name, value in _ADDED_BY_API_SERVER.items():
        if raw.get(name) == value:
            del raw[name]
    raw["env"] = [
        e for _, e in elements(raw.get("env")) if not ("value" in e and text(e.get("name")) in _ADDED_BY_KUBERAY)
    ]
    raw["volumeMounts"] = [
        mount
        for _, mount in elements(raw.get("volumeMounts"))
        if mount.get("mountPath") != API_TOKEN_DIRECTORY or mount.get("readOnly") is not True
    ]
    return raw == ours


def same_contract(container: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """`container` is our init container as some version of us wrote it: another tag, signer or key mode, no more.

    Enough for a stored RayCluster, which keeps what it was created with; its pods get today's on their way in.
    """
    today = {field: ours[field] for field in ("args", "resources", "imagePullPolicy")}
    theirs = {**container, **today, "image": ours["image"]}
    names = [text(entry.get("name")) for _, entry in elements(container.get("env"))]
    if repository_of(text(container.get("image"))) != repository_of(ours["image"]):
        return False
    if [name for name in names if name not in _ADDED_BY_KUBERAY] != [entry["name"] for entry in ours["env"]]:
        return False
    theirs["env"] = ours["env"]
    context = {**mapping(container.get("securityContext"))}
    context.pop("runAsUser", None)
    theirs["securityContext"] = context
    expected = {**ours, "securityContext": {k: v for k, v in ours["securityContext"].items() if k != "runAsUser"}}
    return conforms(theirs, expected)


def contract_hash(signer: Signer, injection: Injection) -> str:
    """Twelve hexadecimal digits that change when what we inject would; for the `raywarden.io/injected` hint."""
    content = json.dumps([signer.image, signer.url, signer.ca, injection.model_dump(mode="json")])
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def normal_path(path: str) -> tuple[str, ...]:
    """A mount path as its parts, with `//`, `.`, `..` and trailing slashes resolved, to be compared as a tree."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return tuple(parts)


_TLS_PATH = normal_path(TLS_DIRECTORY)


def is_tls_directory(path: Any) -> bool:
    """`path` is a mount path that comes down to our directory."""
    return isinstance(path, str) and normal_path(path) == _TLS_PATH


def overlaps_tls_directory(path: str) -> bool:
    """`path` is our directory, lies in it, or holds it."""
    theirs = normal_path(path)
    shorter = min(len(_TLS_PATH), len(theirs))
    return _TLS_PATH[:shorter] == theirs[:shorter]
