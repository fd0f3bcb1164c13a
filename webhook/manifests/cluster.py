"""A cluster that is a set of manifests: what the development server takes for the API server."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from policies.cluster.state import NamespaceState
from policies.documents.untyped import as_dict, as_str
from webhook.kube.objects import opted_in_cluster_of, pod_of, ray_cluster_of, service_of
from webhook.manifests.read import Manifest, read
from webhook.manifests.state import ManifestNamespaces
from webhook.settings import SetupError


class ManifestCluster:
    """Namespaces, Pods, Services and RayClusters as they stand in manifests, and a token for every pod.

    Raises ValueError for a live object that lacks what the API server would have given it.
    """

    def __init__(
        self, documents: Iterable[Mapping[str, Any]], new_token: Callable[[], str]
    ) -> None:
        listed = list(documents)
        for one in listed:
            _check(one)
        self._namespace_states = ManifestNamespaces(listed, complete=bool(listed))
        self._namespaces = {_key(one)[1]: one for one in _of("v1", "Namespace", listed)}
        self._pods = {_key(one): pod_of(one) for one in _of("v1", "Pod", listed)}
        self._clusters = {
            _key(one): ray_cluster_of(one) for one in _of("ray.io/v1", "RayCluster", listed)
        }
        self._services: dict[str, list[Service]] = {}
        for one in _of("v1", "Service", listed):
            self._services.setdefault(_key(one)[0], []).append(service_of(one))
        self._tokens = {new_token(): pod for pod in self._pods.values()}

    @classmethod
    def load(
        cls, file: Path | None, token_dir: Path | None, new_token: Callable[[], str]
    ) -> "ManifestCluster":
        """The cluster in a file, an empty one for None, with its tokens below `token_dir`; raises SetupError."""
        found = list(read(str(file))) if file else []
        if broken := [one for one in found if not isinstance(one, Manifest)]:
            raise SetupError(f"{broken[0].source}: {broken[0].why}")
        try:
            cluster = cls((one.document for one in found if isinstance(one, Manifest)), new_token)
            if token_dir:
                cluster._write_tokens(token_dir)
        except OSError as error:
            raise SetupError(f"{token_dir}: {error.strerror}") from None
        except ValueError as error:
            raise SetupError(
                f"{file}: not an object as the API server stores it: {error}"
            ) from None
        return cluster

    def _write_tokens(self, folder: Path) -> None:
        """Each pod's token to `<folder>/<namespace>/<pod>/token`, as the kubelet would mount it; raises OSError."""
        for token, pod in self._tokens.items():
            file = folder / pod.namespace / pod.name / "token"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            file.write_text(token)

    def state_of(self, namespace: str) -> NamespaceState:
        return self._namespace_states.state_of(namespace)

    async def caller(self, token: str) -> TokenIdentity | None:
        pod = self._tokens.get(token)
        return TokenIdentity(pod.namespace, pod.service_account, pod.name, pod.uid) if pod else None

    async def pod(self, namespace: str, name: str) -> LivePod | None:
        return self._pods.get((namespace, name))

    async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        cluster = self._clusters.get((namespace, name))
        return cluster if cluster and cluster.uid == uid else None

    async def opted_in_cluster(self, namespace: str, name: str) -> Cluster | None:
        metadata = as_dict(self._namespaces.get(namespace, {}).get("metadata"))
        # A namespace whose labels alone are of interest need not say when it was made.
        complete = "uid" in metadata and "creationTimestamp" in metadata
        return opted_in_cluster_of(self._namespaces[namespace], name) if complete else None

    async def services(self, namespace: str) -> Iterable[Service]:
        return self._services.get(namespace, ())

    def ray_clusters(self) -> Iterable[Cluster]:
        return self._clusters.values()


def _check(document: Mapping[str, Any]) -> None:
    kind, metadata = as_str(document.get("kind")), as_dict(document.get("metadata"))
    wanted = {"RayCluster": ("uid", "creationTimestamp"), "Pod": ("uid",)}
    for field in wanted.get(kind, ()):
        if not as_str(metadata.get(field)):
            raise ValueError(f"{kind} {as_str(metadata.get('name'))} has no metadata.{field}")


def _of(
    api_version: str, kind: str, documents: Iterable[Mapping[str, Any]]
) -> Iterable[Mapping[str, Any]]:
    return (
        one for one in documents if (one.get("apiVersion"), one.get("kind")) == (api_version, kind)
    )


def _key(document: Mapping[str, Any]) -> tuple[str, str]:
    metadata = as_dict(document.get("metadata"))
    return as_str(metadata.get("namespace")), as_str(metadata.get("name"))
