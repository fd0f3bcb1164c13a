"""A cluster made of manifests, which replaces the API server in the development server."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from certs.identity import Cluster, LivePod, Service, TokenIdentity
from policies.cluster.state import NamespaceState
from policies.documents.metadata import metadata_of, name_of, namespace_of
from policies.documents.untyped import as_str
from webhook.kube.objects import opted_in_cluster_of, pod_of, ray_cluster_of, service_of
from webhook.manifests.read import Manifest, UnreadableManifest, read
from webhook.manifests.state import ManifestNamespaces
from webhook.settings import SetupError

Document = Mapping[str, Any]


class ManifestCluster:
    """The Namespaces, Pods, Services and RayClusters in manifests, and a token for every pod.

    Raises ValueError if a live object lacks a field that the API server would have set.
    """

    def __init__(self, documents: Iterable[Document], new_token: Callable[[], str]) -> None:
        objects = list(documents)
        for document in objects:
            _require_live_fields(document)
        self._namespace_states = ManifestNamespaces(objects, complete=bool(objects))
        self._namespaces = {
            _key(document)[1]: document for document in _of_kind("v1", "Namespace", objects)
        }
        self._pods = {
            _key(document): pod_of(document) for document in _of_kind("v1", "Pod", objects)
        }
        self._clusters = {
            _key(document): ray_cluster_of(document)
            for document in _of_kind("ray.io/v1", "RayCluster", objects)
        }
        self._services: dict[str, list[Service]] = {}
        for document in _of_kind("v1", "Service", objects):
            namespace, _ = _key(document)
            self._services.setdefault(namespace, []).append(service_of(document))
        self._tokens = {new_token(): pod for pod in self._pods.values()}

    @classmethod
    def load(
        cls, file: Path | None, token_dir: Path | None, new_token: Callable[[], str]
    ) -> "ManifestCluster":
        """The cluster in a file, or an empty cluster for None; writes its tokens below `token_dir`.

        Raises SetupError.
        """
        documents = []
        for result in read(str(file)) if file else ():
            if isinstance(result, UnreadableManifest):
                raise SetupError(f"{result.source}: {result.why}")
            if isinstance(result, Manifest):
                documents.append(result.document)
        try:
            cluster = cls(documents, new_token)
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
        """Write each token to `<folder>/<namespace>/<pod>/token`, as the kubelet mounts it.

        Raises OSError.
        """
        for token, pod in self._tokens.items():
            file = folder / pod.namespace / pod.name / "token"
            file.parent.mkdir(parents=True, exist_ok=True)
            # Create the file with its mode first: the token must never be readable by other users.
            file.touch(mode=0o600)
            file.write_text(token)

    def state_of(self, namespace: str) -> NamespaceState:
        return self._namespace_states.state_of(namespace)

    async def caller(self, token: str) -> TokenIdentity | None:
        pod = self._tokens.get(token)
        return TokenIdentity(pod.namespace, pod.service_account, pod.name, pod.uid) if pod else None

    async def pod(self, namespace: str, name: str, uid: str) -> LivePod | None:
        return self._pods.get((namespace, name))

    async def wait_for_pod(self, namespace: str, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def ray_cluster(self, namespace: str, name: str, uid: str) -> Cluster | None:
        cluster = self._clusters.get((namespace, name))
        return cluster if cluster and cluster.uid == uid else None

    async def opted_in_cluster(self, namespace: str, name: str) -> Cluster | None:
        document = self._namespaces.get(namespace, {})
        metadata = metadata_of(document)
        # A Namespace in a manifest may be there only for its labels. Without a UID and a creation
        # time it cannot identify a cluster.
        if "uid" not in metadata or "creationTimestamp" not in metadata:
            return None
        return opted_in_cluster_of(document, name)

    async def services(self, namespace: str) -> Iterable[Service]:
        return self._services.get(namespace, ())

    def ray_clusters(self) -> Iterable[Cluster]:
        return self._clusters.values()

    def known_ray_cluster(self, namespace: str, name: str) -> Cluster | None:
        return self._clusters.get((namespace, name))


def _require_live_fields(document: Document) -> None:
    kind, metadata = as_str(document.get("kind")), metadata_of(document)
    required = {"RayCluster": ("uid", "creationTimestamp"), "Pod": ("uid",)}
    for field in required.get(kind, ()):
        if not as_str(metadata.get(field)):
            raise ValueError(f"{kind} {name_of(document)} has no metadata.{field}")


def _of_kind(api_version: str, kind: str, documents: Iterable[Document]) -> list[Document]:
    return [
        document
        for document in documents
        if (document.get("apiVersion"), document.get("kind")) == (api_version, kind)
    ]


def _key(document: Document) -> tuple[str, str]:
    return namespace_of(document), name_of(document)
