"""The seed in use, and everything that follows from it."""

from datetime import datetime

from certs.authority import Authority, serving_authority, serving_bundle
from certs.cache import Authorities
from certs.identity import Domains
from certs.root import Root
from certs.seed import Seed


class Trust:
    """What is derived from the current seed: CAs of clusters, and the CA of our own ports."""

    def __init__(self, root: Root | None, domains: Domains, cache_size: int) -> None:
        self._root = root
        self.seed: Seed | None = None
        self._domains = domains
        self._cache_size = cache_size

    def adopt(self, seed: Seed) -> bool:
        """Take over a seed; gives whether it is another one. No key of a generation that is gone stays in memory."""
        if seed == self.seed:
            return False
        self.seed = seed
        self._authorities = Authorities(seed, self._root, self._domains, self._cache_size)
        self._serving = serving_authority(seed.serving)
        self._serving_bundle = serving_bundle(seed)
        self._serving_cas = tuple(
            (one.activated, serving_authority(one).pem) for one in seed.generations
        )
        return True

    # Nothing asks for these before a seed is there: our ports have no certificate until then.
    @property
    def authorities(self) -> Authorities:
        """The CAs of clusters."""
        return self._authorities

    @property
    def serving(self) -> Authority:
        """The CA that signs our own leaf."""
        return self._serving

    @property
    def serving_ca(self) -> bytes:
        """What clients of ours must trust (PEM): the serving CA of every generation, oldest first."""
        return self._serving_bundle

    def pod_ca(self, now: datetime) -> bytes:
        """The same for pods that start now: of generations that are activated.

        A replica refuses a pod that another one gave another CA. By the time of its activation all of them know of a
        generation, so that they change over at one moment.
        """
        serving = self._serving.pem
        return b"".join(
            pem for activated, pem in self._serving_cas if activated <= now or pem == serving
        )
