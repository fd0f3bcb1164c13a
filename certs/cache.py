"""Cluster CAs are derived once and cached in memory, up to a limit."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock

from certs.authority import Authority, cluster_authority
from certs.identity import Cluster, Domains
from certs.root import Root
from certs.seed import Seed

_DOMAINS = Domains()


@dataclass(frozen=True, slots=True)
class ClusterTrust:
    """What the pods of a cluster get besides their own certificates.

    `authority` signs the certificates of its pods.

    `bundle` (PEM) holds the cluster's CA of every generation, `authority` first. It never holds
    anything above the cluster's own CAs, because Ray accepts every certificate that any CA in this
    file has signed.

    `chain` (PEM) leads from `authority` up to an organization's root; empty without such a root.
    """

    authority: Authority
    bundle: bytes
    chain: bytes


class Authorities:
    """A cache of the CAs of clusters under one seed.

    The least recently used CA is evicted when there are more than `capacity`. Derivation holds a
    lock, so many pods of one new cluster that enroll at once cost one derivation.
    """

    def __init__(
        self,
        seed: Seed,
        root: Root | None = None,
        domains: Domains = _DOMAINS,
        # An entry is a few kilobytes, so a full cache is some tens of megabytes. More clusters than
        # this still work: an evicted CA is derived again.
        capacity: int = 10_000,
    ) -> None:
        self._seed = seed
        self._root = root
        self._domains = domains
        self.hits = self.misses = self.evictions = 0
        self._capacity = capacity
        self._lock = Lock()
        self._cached: OrderedDict[Cluster, ClusterTrust] = OrderedDict()

    def __len__(self) -> int:
        return len(self._cached)

    def of(self, cluster: Cluster) -> ClusterTrust:
        """The trust of a cluster, from the cache or derived now."""
        with self._lock:
            cached = self._cached.get(cluster)
            if cached is not None:
                self.hits += 1
                self._cached.move_to_end(cluster)
                return cached
            self.misses += 1
            derived = self._cached[cluster] = self._derive(cluster)
            if len(self._cached) > self._capacity:
                self._cached.popitem(last=False)
                self.evictions += 1
            return derived

    def _derive(self, cluster: Cluster) -> ClusterTrust:
        signing = self._seed.for_cluster(cluster.created)
        authority = cluster_authority(signing, cluster)
        bundle = authority.pem
        for generation in self._seed.generations:
            if generation is not signing:
                bundle += cluster_authority(generation, cluster).pem
        return ClusterTrust(authority, bundle, self._cross_signed(authority, cluster.namespace))

    def _cross_signed(self, authority: Authority, namespace: str) -> bytes:
        """The chain from `authority` up to the organization's root (PEM); empty without a root.

        It is valid only for names of Services in `namespace` and for `localhost`: the authors of a
        namespace must not get certificates that the organization trusts for other names.
        """
        if self._root is None:
            return b""
        services = f"{namespace}.svc"
        permitted = (services, f"{services}.{self._domains.cluster}", "localhost")
        return self._root.cross_sign(authority, permitted)
