"""The seed in use, and everything derived from it."""

from datetime import datetime

from certs.authority import Authority, serving_authority, serving_bundle
from certs.cache import Authorities
from certs.identity import Domains
from certs.root import Root
from certs.seed import Seed


class Trust:
    """What is derived from the current seed: the CAs of clusters, and of RayWarden's own ports."""

    def __init__(self, root: Root | None, domains: Domains, cache_size: int) -> None:
        self._root = root
        self.seed: Seed | None = None
        self.domains = domains
        self._cache_size = cache_size

    def adopt(self, seed: Seed) -> bool:
        """Use `seed` from now on; returns whether it differs from the current one.

        Everything derived is replaced, so no key of a forgotten generation stays in memory.
        """
        if seed == self.seed:
            return False
        self.seed = seed
        self._authorities = Authorities(seed, self._root, self.domains, self._cache_size)
        self._serving = serving_authority(seed.serving)
        self._serving_bundle = serving_bundle(seed)
        self._serving_cas = tuple(
            (generation.activated, serving_authority(generation).pem)
            for generation in seed.generations
        )
        return True

    # The attributes below exist once a seed was adopted. No caller reads them earlier, because the
    # ports have no certificate until then.
    @property
    def authorities(self) -> Authorities:
        """The CAs of clusters."""
        return self._authorities

    @property
    def serving(self) -> Authority:
        """The CA that signs RayWarden's own certificate."""
        return self._serving

    @property
    def serving_ca(self) -> bytes:
        """What RayWarden's clients must trust (PEM): each generation's serving CA, oldest first."""
        return self._serving_bundle

    def pod_ca(self, now: datetime) -> bytes:
        """What pods that start now must trust (PEM): the serving CAs of active generations.

        The CA is part of what RayWarden injects into a pod, and a replica refuses a pod into which
        another replica injected a different CA. All replicas know a generation by the time it
        becomes active, so they all start to inject its CA at that moment.
        """
        serving = self._serving.pem
        return b"".join(
            pem for activated, pem in self._serving_cas if activated <= now or pem == serving
        )
