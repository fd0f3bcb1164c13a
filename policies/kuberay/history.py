"""What KubeRay refuses in `historyServerOptions`.

Source: `ValidateRayClusterSpec`, `validateCollectorOptions`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import variable
from policies.ray.operator import KubeRayOperator
from policies.ray.pod import COLLECTOR_CONTAINER, Container
from policies.ray.workload import ClusterSpec

_GATE = "RayClusterHistoryServer"
_OPTIONS = "historyServerOptions.collectorOptions"
_BACKEND = "STORAGE_BACKEND"
# KubeRay writes these variables itself.
_RESERVED = (
    "POD_IP",
    "FQ_RAY_IP",
    "RAY_CLUSTER_NAME",
    "RAY_CLUSTER_NAMESPACE",
    "RAY_ROLE",
    "OWNER_KIND",
    "OWNER_NAME",
    "EVENTS_PORT",
)
# The variables that each backend needs.
_NEEDED = {
    "GCS": ("GCS_BUCKET",),
    "S3": ("S3_REGION",),
    "ALIYUNOSS": ("OSS_BUCKET", "OSS_ENDPOINT", "OSS_REGION"),
}
_AZURE_MODES = ("connection_string", "workload_identity", "default")
_AZURE, _AZURE_MODE = "AZUREBLOB", "AZURE_STORAGE_AUTH_MODE"
_AZURE_STRING, _AZURE_URL = "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT_URL"


def history_refusals(cluster: ClusterSpec, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """Everything that is wrong with the collector of the history server."""
    options = cluster.spec.get("historyServerOptions")
    if options is None or kuberay.is_before(1, 7):
        return
    place = cluster.pointer / "historyServerOptions"
    if kuberay.is_off(_GATE):
        message = f"KubeRay refuses historyServerOptions without its feature gate {_GATE}"
        yield NotAccepted(message, place, "remove historyServerOptions")
        return
    raw = as_dict(options).get("collectorOptions")
    if raw is None:
        message = "KubeRay refuses historyServerOptions without collectorOptions"
        yield NotAccepted(message, place, "add collectorOptions, or remove historyServerOptions")
        return
    yield from _collector(as_dict(raw), place / "collectorOptions")
    for group in cluster.groups:
        for container in group.pod.containers:
            if container.list_name == "containers" and container.name == COLLECTOR_CONTAINER:
                name = COLLECTOR_CONTAINER
                message = f"KubeRay adds {name} to the {group.title} itself, and refuses another"
                yield NotAccepted(message, container.pointer, f"remove {name} from containers")


def _collector(raw: Mapping[str, Any], place: Pointer) -> Iterator[NotAccepted]:
    if not raw.get("image"):
        yield NotAccepted(f"KubeRay refuses {_OPTIONS} without image", place, "add image")
    options = Container(raw, place, "options")
    for name in _RESERVED:
        if name in options.variables.names:
            message = f"KubeRay writes {name} itself, and refuses it in {_OPTIONS}.env"
            yield NotAccepted(message, place / "env", f"remove {name} from env")
    backend = variable(options, _BACKEND)
    if not backend:
        message = f"KubeRay refuses {_OPTIONS} without a literal {_BACKEND} in env"
        yield NotAccepted(message, place / "env", f"add {_BACKEND} to env")
    for missing in _missing(options, backend.upper()):
        message = f"KubeRay refuses {_OPTIONS} without {missing} in env with this {_BACKEND}"
        yield NotAccepted(message, place / "env", f"add {missing} to env")


def _missing(options: Container, backend: str) -> Iterator[str]:
    """The variables that the backend needs and that have no value."""
    for name in _NEEDED.get(backend, ()):
        if not _has_value(options, name):
            yield name
    if backend != _AZURE:
        return
    mode = variable(options, _AZURE_MODE).strip().lower()
    by_string, by_url = _has_value(options, _AZURE_STRING), _has_value(options, _AZURE_URL)
    if mode == "connection_string" and not by_string:
        yield _AZURE_STRING
    elif mode in ("workload_identity", "default") and not by_url:
        yield _AZURE_URL
    elif mode not in _AZURE_MODES and not by_string and not by_url:
        yield f"{_AZURE_STRING} or {_AZURE_URL}"


def _has_value(options: Container, name: str) -> bool:
    if name not in options.variables.names:
        return False
    _, entry = options.variables.of(name)[-1]
    return bool(entry.get("value")) or entry.get("valueFrom") is not None
