"""The public CAs of Ray clusters, for programs that verify a cluster's certificates."""

from collections.abc import Callable
from typing import Protocol

import orjson

from certs.cache import Authorities
from certs.identity import Cluster
from certs.spiffe import spiffe_bundle


class KnownClusters(Protocol):
    """The RayClusters in RayWarden's cache."""

    def known_ray_cluster(self, namespace: str, name: str) -> Cluster | None:
        """A RayCluster; None if it is not in the cache."""
        ...


class Bundles:
    """What `ca.crt` in the pods of a RayCluster holds; it contains no secret."""

    def __init__(self, clusters: KnownClusters, authorities: Callable[[], Authorities]) -> None:
        self._clusters = clusters
        self._authorities = authorities

    def pem(self, namespace: str, name: str) -> bytes | None:
        """The CAs of a RayCluster in PEM form; None if it does not exist.

        Other names get nothing: a caller must not be able to fill the cache of CAs.
        """
        cluster = self._clusters.known_ray_cluster(namespace, name)
        if cluster is None or cluster.ended:
            return None
        return self._authorities().of(cluster).bundle

    def spiffe(self, namespace: str, name: str) -> bytes | None:
        """The same as a SPIFFE bundle (JSON)."""
        pem = self.pem(namespace, name)
        return None if pem is None else orjson.dumps(spiffe_bundle(pem))
