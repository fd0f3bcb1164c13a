"""The CAs in use, in memory: bounded, counted, each derived once."""

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
    """What a cluster's pods get beside their own certificate (PEM).

    `bundle`: the cluster's CA of every generation, the one that signs first. Ray lets in every certificate of every CA
    in that file, so nothing above a cluster's own CAs is ever in it. `chain`: what leads from `authority` up to an
    organization's root; empty without one.
    """

    authority: Authority
    bundle: bytes
    chain: bytes


class Authorities:
    """The CAs of clusters under one seed: the least recently used leave when there are more than `capacity`.

    Derivation is behind a lock: many pods of one new cluster cost one derivation.
    """

    def __init__(
        self,
        seed: Seed,
        root: Root | None = None,
        domains: Domains = _DOMAINS,
        capacity: int = 10_000,
    ) -> None:
        self._seed = seed
        self._root = root
        self._domains = domains
        self.hits = self.misses = self.evictions = 0
        self._capacity = capacity
        self._lock = Lock()
        self._kept: OrderedDict[Cluster, ClusterTrust] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, cluster: Cluster) -> ClusterTrust:
        """The trust of a cluster, derived now or before."""
        with self._lock:
            if (kept := self._kept.get(cluster)) is not None:
                self.hits += 1
                self._kept.move_to_end(cluster)
                return kept
            self.misses += 1
            derived = self._kept[cluster] = self._derive(cluster)
            if len(self._kept) > self._capacity:
                self._kept.popitem(last=False)
                self.evictions += 1
            return derived

    def _derive(self, cluster: Cluster) -> ClusterTrust:
        signing = self._seed.for_cluster(cluster.created)
        authority = cluster_authority(signing, cluster)
        others = (
            cluster_authority(one, cluster) for one in self._seed.generations if one is not signing
        )
        bundle = authority.pem + b"".join(other.pem for other in others)
        return ClusterTrust(authority, bundle, self._cross_signed(authority, cluster.namespace))

    def _cross_signed(self, authority: Authority, namespace: str) -> bytes:
        """What leads up to the root; good for names of Services in the namespace, and for `localhost`."""
        if self._root is None:
            return b""
        services = f"{namespace}.svc"
        return self._root.cross_sign(
            authority, (services, f"{services}.{self._domains.cluster}", "localhost")
        )
