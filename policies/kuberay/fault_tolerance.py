"""What KubeRay refuses in the fault tolerance of GCS.

Source: `ValidateRayClusterSpec`, `validateGcsFaultToleranceBackend`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str
from policies.kuberay.problem import NotAccepted
from policies.ray.operator import KubeRayOperator
from policies.ray.pod import Container
from policies.ray.workload import ClusterSpec

_GATE = "GCSFaultToleranceEmbeddedStorage"
_ENABLED, _NAMESPACE = "ray.io/ft-enabled", "ray.io/external-storage-namespace"
_ADDRESS = "RAY_REDIS_ADDRESS"
_USER = "redisUsername"
# The option that takes the place of each start parameter and variable.
_PARAMETERS = {"redis-username": _USER, "redis-password": "redisPassword"}
_VARIABLES = {
    "REDIS_USERNAME": _USER,
    "REDIS_PASSWORD": "redisPassword",
    _ADDRESS: "redisAddress",
}
_STORAGE = ("RAY_gcs_storage", "RAY_gcs_storage_path")
_VOLUME, _MOUNT_PATH = "gcs-storage", "/data/gcs"
_REDIS_FIELDS = ("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace")
_OPTIONS = "gcsFaultToleranceOptions"


def fault_tolerance_refusals(
    cluster: ClusterSpec, annotations: Mapping[str, Any], kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    """Everything that is wrong with it; `annotations` are those of the object."""
    head, has_options = cluster.head.pod.ray_container, cluster.spec.get(_OPTIONS) is not None
    is_enabled = has_options or as_str(annotations.get(_ENABLED)).lower() == "true"
    if head and not is_enabled and _ADDRESS in head.variables.names:
        message = f"KubeRay refuses {_ADDRESS} without {_OPTIONS}"
        remedy = f"remove {_ADDRESS} from env, and write {_OPTIONS}.redisAddress"
        yield NotAccepted(message, head.pointer / "env", remedy)
    yield from _misplaced(cluster, head, has_options)
    if not has_options:
        return
    if annotations.get(_ENABLED):
        yield _annotation(cluster, _ENABLED, f"{_OPTIONS} itself turns it on")
    if annotations.get(_NAMESPACE):
        yield _annotation(cluster, _NAMESPACE, f"write {_OPTIONS}.externalStorageNamespace")
    if not kuberay.is_before(1, 7):
        yield from _backend(cluster, head, kuberay)


def _misplaced(
    cluster: ClusterSpec, head: Container | None, has_options: bool
) -> Iterator[NotAccepted]:
    """What must be one of the options; without options, KubeRay refuses only a user name."""
    for name, option in _PARAMETERS.items():
        if cluster.head.start_params.get(name) and (has_options or option == _USER):
            place = cluster.head.pointer / "rayStartParams" / name
            yield _elsewhere(name, "in rayStartParams", option, place)
    for name, option in _VARIABLES.items():
        if head and name in head.variables.names and (has_options or option == _USER):
            yield _elsewhere(name, "in the head", option, head.pointer / "env")


def _elsewhere(name: str, where: str, option: str, place: Pointer) -> NotAccepted:
    message = f"KubeRay refuses {name} {where}"
    remedy = f"remove {name}, and write {_OPTIONS}.{option}"
    return NotAccepted(message, place, remedy)


def _annotation(cluster: ClusterSpec, name: str, reason: str) -> NotAccepted:
    message = f"KubeRay refuses the annotation {name} beside {_OPTIONS}"
    return NotAccepted(message, cluster.pointer / _OPTIONS, f"remove {name}: {reason}")


def _backend(
    cluster: ClusterSpec, head: Container | None, kuberay: KubeRayOperator
) -> Iterator[NotAccepted]:
    options = as_dict(cluster.spec.get(_OPTIONS))
    place = cluster.pointer / _OPTIONS
    if options.get("backend") != "rocksdb":
        if options.get("storage") is not None:
            message = f"KubeRay refuses {_OPTIONS}.storage without backend: rocksdb"
            yield NotAccepted(message, place / "storage", "remove storage")
        return
    if kuberay.is_off(_GATE):
        message = f"KubeRay refuses {_OPTIONS}.backend: rocksdb without its feature gate {_GATE}"
        yield NotAccepted(message, place / "backend", "set backend: redis")
    for name in _REDIS_FIELDS:
        if options.get(name):
            message = f"KubeRay refuses {_OPTIONS}.{name} with backend: rocksdb"
            yield NotAccepted(message, place / name, f"remove {name}")
    yield from _claim(as_dict(options.get("storage")), place / "storage")
    if head:
        yield from _reserved(cluster, head)


def _claim(storage: Mapping[str, Any], place: Pointer) -> Iterator[NotAccepted]:
    """What describes a claim that exists already."""
    for name in ("size", "storageClassName", "accessModes"):
        if storage.get("claimName") and storage.get(name):
            message = f"KubeRay refuses {_OPTIONS}.storage.{name} beside claimName"
            yield NotAccepted(message, place / name, f"remove {name}")


def _reserved(cluster: ClusterSpec, head: Container) -> Iterator[NotAccepted]:
    """What KubeRay itself writes into the head for its storage."""
    for name in _STORAGE:
        if name in head.variables.names:
            message = f"KubeRay refuses {name} in the head with backend: rocksdb"
            yield NotAccepted(message, head.pointer / "env", f"remove {name} from env")
    for index, mount in head.mounts:
        if mount.get("mountPath") == _MOUNT_PATH or mount.get("name") == _VOLUME:
            message = f"KubeRay mounts {_VOLUME} at {_MOUNT_PATH} itself, and refuses another mount"
            place = head.pointer / "volumeMounts" / index
            yield NotAccepted(message, place, "use another name and another mountPath")
    for index, volume in cluster.head.pod.volumes:
        if volume.get("name") == _VOLUME:
            message = f"KubeRay refuses a volume {_VOLUME} in the head with backend: rocksdb"
            place = cluster.head.pod.spec_pointer / "volumes" / index
            yield NotAccepted(message, place, "use another name for the volume")
