"""Looking after the seed: what is in use, a new generation, an old one retired and forgotten."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from certs.authority import serving_bundle
from certs.cache import Authorities, ClusterTrust
from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.seed import Generation, Seed, SeedError
from webhook.ca.inventory import Inventory, take
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

# A generation is used by clusters created after this: until then every replica has long heard of it.
LEAD = timedelta(minutes=5)


class Rotation:
    """The seed where it is stored, beside the clusters that live on it. Everything raises SetupError with advice."""

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
        """What is in use."""
        return await self._inventory((await self._load())[1])

    async def rotate(self) -> Generation:
        """Add a generation, for clusters created five minutes from now and later."""
        activated = self._now().replace(microsecond=0) + LEAD
        generation = Generation(activated, self._new_secret())
        await self._change(partial(Seed.with_generation, generation=generation))
        return generation

    async def retire(self, name: str) -> Inventory:
        """Have a generation sign no more; gives what is in use then."""
        return await self._inventory(
            await self._change(partial(_retire, name=name, now=self._now()))
        )

    async def forget(self, name: str) -> Inventory:
        """Delete a generation; gives what is in use then."""
        return await self._inventory(
            await self._change(partial(_without, name=name, now=self._now()))
        )

    async def publish(self) -> bool:
        """Write the CA of our own ports into the webhook configurations; gives whether anything had to be written."""
        bundle = serving_bundle((await self._load())[1])
        try:
            return await self._configurations.trust(bundle)
        except UnavailableError as error:
            raise SetupError(str(error)) from None

    async def trust(self, namespace: str, name: str) -> tuple[Cluster, ClusterTrust]:
        """The CAs of a RayCluster, or of Ray without KubeRay where there is no RayCluster of that name."""
        seed = (await self._load())[1]
        try:
            cluster = await self._cluster(namespace, name)
        except UnavailableError as error:
            raise SetupError(str(error)) from None
        if cluster is None:
            raise SetupError(f"there is no namespace {namespace}")
        return cluster, Authorities(seed).of(cluster)

    async def _cluster(self, namespace: str, name: str) -> Cluster | None:
        for document in await self._objects.ray_clusters():
            if ((cluster := ray_cluster_of(document)).namespace, cluster.name) == (namespace, name):
                return cluster
        for document in await self._objects.namespaces():
            if (cluster := opted_in_cluster_of(document, name)).namespace == namespace:
                return cluster
        return None

    async def _inventory(self, seed: Seed) -> Inventory:
        try:
            clusters, namespaces = (
                await self._objects.ray_clusters(),
                await self._objects.namespaces(),
            )
            return take(
                seed,
                clusters,
                namespaces,
                await self._objects.ray_pods(),
                self._profile,
                self._now(),
            )
        except UnavailableError as error:
            raise SetupError(str(error)) from None

    async def _load(self) -> tuple[StoredSeed, Seed]:
        try:
            stored = await self._seeds.load()
            if stored is None:
                raise SetupError("there is no seed yet: the server makes one when it starts")
            return stored, Seed.parse(stored.entries)
        except (UnavailableError, SeedError) as error:
            raise SetupError(f"the seed: {error}") from None

    async def _change(self, edit: Callable[[Seed], Seed]) -> Seed:
        stored, seed = await self._load()
        try:
            changed = edit(seed)
            await self._seeds.replace(stored, changed.entries)
        except KeyError:
            names = ", ".join(generation.name for generation in seed.generations)
            raise SetupError(f"there is no such generation; there are {names}") from None
        except SeedError as error:
            raise SetupError(str(error)) from None
        except ConflictError:
            raise SetupError(
                "somebody else has changed the seed meanwhile: look again, and try again"
            ) from None
        except UnavailableError as error:
            raise SetupError(str(error)) from None
        return changed


def _retire(seed: Seed, name: str, now: datetime) -> Seed:
    return _served_now(seed.retire(name, now), now)


def _without(seed: Seed, name: str, now: datetime) -> Seed:
    return _served_now(seed.without(name), now)


def _served_now(seed: Seed, now: datetime) -> Seed:
    """`seed`, if our own ports can be of it already: else replicas and pods would not trust each other's CA yet."""
    if seed.serving.activated > now:
        raise SeedError(
            f"{seed.serving.name} is not active yet: wait until {seed.serving.activated:%F %T} UTC"
        )
    return seed
