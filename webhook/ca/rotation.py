"""Operations on the seed: list what is in use; add, retire and forget generations."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from certs.authority import serving_bundle
from certs.cache import Authorities, ClusterTrust
from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.seed import Generation, Seed, SeedError
from webhook.ca.inventory import Inventory, take_inventory
from webhook.kube.objects import opted_in_cluster_of, ray_cluster_of
from webhook.ports import (
    ConflictError,
    ObjectLists,
    SeedStore,
    StoredSeed,
    UnavailableError,
    WebhookConfigurations,
)
from webhook.settings import SetupError

# A new generation is used for clusters created this much later. By then every replica has read it:
# replicas look at least once a minute.
LEAD = timedelta(minutes=5)


class Rotation:
    """The stored seed, and the clusters whose CAs are derived from it.

    Every method raises SetupError with advice for the operator.
    """

    def __init__(
        self,
        seeds: SeedStore,
        objects: ObjectLists,
        configurations: WebhookConfigurations,
        profile: CertificateProfile,
        now: Callable[[], datetime],
        new_secret: Callable[[], bytes],
    ) -> None:
        self._seeds = seeds
        self._objects = objects
        self._configurations = configurations
        self._profile = profile
        self._now = now
        self._new_secret = new_secret

    async def inventory(self) -> Inventory:
        """Which cluster uses which generation."""
        _, seed = await self._load()
        return await self._inventory(seed)

    async def rotate(self) -> Generation:
        """Add a generation for clusters created five minutes from now and later."""
        activated = self._now().replace(microsecond=0) + LEAD
        generation = Generation(activated, self._new_secret())
        await self._change(partial(Seed.with_generation, generation=generation))
        return generation

    async def retire(self, name: str) -> Inventory:
        """Stop signing with a generation, and go on trusting it; returns the new inventory."""
        seed = await self._change(partial(_retire, name=name, now=self._now()))
        return await self._inventory(seed)

    async def forget(self, name: str) -> Inventory:
        """Delete a generation; returns the new inventory."""
        seed = await self._change(partial(_without, name=name, now=self._now()))
        return await self._inventory(seed)

    async def publish(self) -> bool:
        """Write the CA of RayWarden's own ports into the webhook configurations.

        Returns whether anything had to be written.
        """
        _, seed = await self._load()
        try:
            return await self._configurations.trust(serving_bundle(seed))
        except UnavailableError as error:
            raise SetupError(str(error)) from None

    async def trust(self, namespace: str, name: str) -> tuple[Cluster, ClusterTrust]:
        """A cluster and its CAs: the RayCluster of that name, else Ray without KubeRay."""
        _, seed = await self._load()
        try:
            cluster = await self._cluster(namespace, name)
        except UnavailableError as error:
            raise SetupError(str(error)) from None
        if cluster is None:
            raise SetupError(f"there is no namespace {namespace}")
        return cluster, Authorities(seed).of(cluster)

    async def _cluster(self, namespace: str, name: str) -> Cluster | None:
        for document in await self._objects.ray_clusters():
            cluster = ray_cluster_of(document)
            if (cluster.namespace, cluster.name) == (namespace, name):
                return cluster
        for document in await self._objects.namespaces():
            cluster = opted_in_cluster_of(document, name)
            if cluster.namespace == namespace:
                return cluster
        return None

    async def _inventory(self, seed: Seed) -> Inventory:
        try:
            clusters = await self._objects.ray_clusters()
            namespaces = await self._objects.namespaces()
            pods = await self._objects.ray_pods()
            return take_inventory(seed, clusters, namespaces, pods, self._profile, self._now())
        except UnavailableError as error:
            raise SetupError(str(error)) from None

    async def _load(self) -> tuple[StoredSeed, Seed]:
        try:
            stored = await self._seeds.load()
            if stored is None:
                raise SetupError("there is no seed yet; the server creates it when it starts")
            return stored, Seed.parse(stored.entries)
        except (UnavailableError, SeedError) as error:
            raise SetupError(f"the seed: {error}") from None

    async def _change(self, edit: Callable[[Seed], Seed]) -> Seed:
        """Store the edited seed, unless it has changed since it was read."""
        stored, seed = await self._load()
        try:
            changed = edit(seed)
            await self._seeds.replace(stored, changed.entries)
        except KeyError:
            names = ", ".join(generation.name for generation in seed.generations)
            raise SetupError(f"there is no such generation; the seed has {names}") from None
        except ConflictError:
            raise SetupError(
                "the seed was changed at the same time; look at `raywarden ca list`, and try again"
            ) from None
        except (SeedError, UnavailableError) as error:
            raise SetupError(str(error)) from None
        return changed


def _retire(seed: Seed, name: str, now: datetime) -> Seed:
    return _require_active(seed.retire(name, now), now)


def _without(seed: Seed, name: str, now: datetime) -> Seed:
    return _require_active(seed.without(name), now)


def _require_active(seed: Seed, now: datetime) -> Seed:
    """`seed`, if the generation for RayWarden's own ports is active; raises SeedError.

    Before its activation some replicas and pods may not trust that generation's CA yet.
    """
    serving = seed.serving
    if serving.activated > now:
        raise SeedError(
            f"{serving.name} is not active yet: wait until {serving.activated:%F %T} UTC"
        )
    return seed
