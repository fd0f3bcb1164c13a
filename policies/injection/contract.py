"""What a Ray pod under our care carries, to the letter: names, variables, volumes, init container.

The mutation `ray-tls` writes it, the rules `tls-on` and `reserved-names` hold every pod against it.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from policies.documents.untyped import as_dict, as_str
from policies.model import Facts, Injection, Signer
from policies.ray.image import repository_of
from policies.ray.pod import Container, Pod, PodRole
from policies.ray.workload import OPT_IN_CLUSTER_LABEL, RAY_CLUSTER_LABEL, Workload

MARKER_LABEL = "raywarden.io/tls"
MANAGED = "managed"
SECRET_ANNOTATION = "raywarden.io/tls-secret"
INJECTED_ANNOTATION = "raywarden.io/injected"
OPT_OUT = "raywarden.io/inject"

# Whom a pod's token is for: no other service takes it, and we take no other.
AUDIENCE = "raywarden.io"
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

_POD_IP_FIELD = {"apiVersion": "v1", "fieldPath": "status.podIP"}
POD_IP_VARIABLE: Mapping[str, Any] = {"name": POD_IP, "valueFrom": {"fieldRef": _POD_IP_FIELD}}
# The variables of a Ray container, in order: the pod IP first, because others are expanded from it.
VARIABLES: tuple[Mapping[str, Any], ...] = (
    POD_IP_VARIABLE,
    *({"name": name, "value": value} for name, value in RAY_TLS_VARIABLES.items()),
)

TLS_MOUNT: Mapping[str, Any] = {"name": TLS_VOLUME, "mountPath": TLS_DIRECTORY, "readOnly": True}
# Beside the Ray container; its other init containers, made of the same image, get no TLS of KubeRay's.
_GIVEN_TLS_BY_KUBERAY = frozenset({"autoscaler", "wait-gcs-ready"})


class TlsBy(StrEnum):
    """Who sees to TLS in a workload."""

    RAYWARDEN = "raywarden"
    KUBERAY = "kuberay"
    AUTHOR = "author"
    NOBODY = "nobody"


def tls_by(workload: Workload) -> TlsBy:
    """Who sees to TLS, as the object itself says: our marker, KubeRay's `tlsOptions`, variables set by hand.

    The marker comes first: an object that claims our care is held to our contract, whatever else it says. What is set
    up by hand, or by KubeRay, counts only when every pod has it: one that has not would be plaintext.
    """
    found = workload.memo.get("tls_by")
    if found is None:
        found = workload.memo["tls_by"] = _tls_by(workload)
    return TlsBy(found)


def _tls_by(workload: Workload) -> TlsBy:
    pods = [pod for pod in workload.pods if pod.role is not PodRole.SUBMITTER]
    if workload.labels.get(MARKER_LABEL) == MANAGED or (
        workload.cluster is None and any(map(_opted_in, pods))
    ):
        return TlsBy.RAYWARDEN
    if workload.cluster and workload.cluster.kuberay_tls:
        return TlsBy.KUBERAY
    if workload.kind == "Pod" and pods and all(map(_set_up_by_kuberay, pods)):
        return TlsBy.KUBERAY
    if pods and all(map(_set_up_by_hand, pods)):
        return TlsBy.AUTHOR
    return TlsBy.NOBODY


def _opted_in(pod: Pod) -> bool:
    return OPT_IN_CLUSTER_LABEL in pod.labels


def _set_up_by_kuberay(pod: Pod) -> bool:
    """KubeRay's mTLS as it shows in a pod: volume `ray-tls` from the Secret it names after the cluster, in use."""
    cluster = as_str(pod.labels.get(RAY_CLUSTER_LABEL))
    secrets = (f"ray-head-secret-{cluster}", f"ray-worker-secret-{cluster}")
    mounted = any(
        volume.get("name") == "ray-tls"
        and as_dict(volume.get("secret")).get("secretName") in secrets
        for _, volume in pod.volumes
    )
    return mounted and all(
        speaks_tls(container)
        and any(
            mount.get("name") == "ray-tls" and is_tls_directory(mount.get("mountPath"))
            for _, mount in container.mounts
        )
        for container in pod.ray_containers
        if container is pod.ray_container or container.name in _GIVEN_TLS_BY_KUBERAY
    )


def _set_up_by_hand(pod: Pod) -> bool:
    """All four Ray TLS variables are set, each once, TLS is on by them, and the files are not ours."""
    ray = pod.ray_container
    if ray is None or not ray.variable_names >= RAY_TLS_VARIABLES.keys():
        return False
    once = all(len(ray.variables[name]) == 1 for name in RAY_TLS_VARIABLES)
    ours = any(mount.get("name") == TLS_VOLUME for _, mount in ray.mounts)
    return once and not ours and _literals(ray, "RAY_USE_TLS")[0] in RAY_READS_AS_ON


def opts_out(holder: Pod | Workload) -> str:
    """Where the object asks to be left alone, `labels` or `annotations`; empty where it does not."""
    written = {"labels": holder.labels, "annotations": holder.annotations}
    return next(
        (place for place, words in written.items() if words.get(OPT_OUT, "true") != "true"), ""
    )


def is_opted_out(workload: Workload, facts: Facts) -> bool:
    """A new RayCluster or pod that asks to be left alone, in a namespace where the administrator allows that."""
    patterns = facts.injection.opt_out_namespaces
    return bool(opts_out(workload)) and any(
        fnmatchcase(facts.namespace, pattern) for pattern in patterns
    )


def is_completed_later(pod: Pod, workload: Workload, facts: Facts) -> bool:
    """What is missing in `pod` will be written when it is made: here it is a template, of somebody in our care."""
    if workload.kind == "Pod":
        return False
    responsible = tls_by(workload)
    if workload.kind != "RayCluster":
        cared_for = TlsBy.RAYWARDEN if workload.cluster is None else TlsBy.NOBODY
        return pod.role is PodRole.SUBMITTER or responsible in (cared_for, TlsBy.RAYWARDEN)
    return responsible in (TlsBy.RAYWARDEN, TlsBy.NOBODY) and _is_only_marked(pod, facts)


def _is_only_marked(pod: Pod, facts: Facts) -> bool:
    """A RayCluster of `marker` mode, also one that was created so before the mode was changed."""
    before = facts.counterpart(pod)
    return facts.injection.ray_cluster == "marker" or (
        before is not None and all(volume.get("name") != TLS_VOLUME for _, volume in before.volumes)
    )


def speaks_tls(container: Container) -> bool:
    """All four Ray TLS variables stand there with our values, each once."""
    return all(_literals(container, name) == [value] for name, value in RAY_TLS_VARIABLES.items())


def _literals(container: Container, name: str) -> list[str]:
    """The values a variable is given, the empty text for one that comes from elsewhere."""
    return [as_str(entry.get("value")) for _, entry in container.variables.get(name, ())]


def is_pod_ip(entry: Mapping[str, Any]) -> bool:
    """`entry` is the variable we write, with or without the apiVersion the API server fills in."""
    field = as_dict(as_dict(entry.get("valueFrom")).get("fieldRef"))
    return entry.get("name") == POD_IP and field in ({"fieldPath": "status.podIP"}, _POD_IP_FIELD)


def own_secret(holder: Pod | Workload) -> str:
    """The Secret with the author's own certificate, which then takes the place of enrollment; empty for none."""
    return as_str(holder.annotations.get(SECRET_ANNOTATION))


def volumes(secret: str) -> Iterator[dict[str, Any]]:
    """The volumes of a pod: memory for key and certificate and the token it enrolls with, or the author's `secret`."""
    if secret:
        yield {"name": TLS_VOLUME, "secret": {"secretName": secret, "defaultMode": 0o644}}
        return
    yield {"name": TLS_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}
    token = {"path": "token", "audience": AUDIENCE, "expirationSeconds": 600}
    yield {
        "name": TOKEN_VOLUME,
        "projected": {"sources": [{"serviceAccountToken": token}], "defaultMode": 0o644},
    }


def user_of(container: Container, pod: Pod, injection: Injection) -> int | None:
    """The numeric user a container is known to run as: as the spec says, else as its image is known to; else None."""
    for context in (container.security_context, pod.security_context):
        user = context.get("runAsUser")
        if isinstance(user, int) and not isinstance(user, bool):
            return user
    repository = repository_of(container.image)
    return next(
        (known.uid for known in injection.non_root_images if fnmatchcase(repository, known.image)),
        None,
    )


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
    # Whatever comes down to it has its last part in it; most paths have not.
    return isinstance(path, str) and "tls" in path and normal_path(path) == _TLS_PATH


def overlaps_tls_directory(path: str) -> bool:
    """`path` is our directory, lies in it, or holds it."""
    return overlap(normal_path(path), _TLS_PATH)


def overlap(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """One of two paths is the other, or lies in it."""
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
