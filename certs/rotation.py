"""What a rotation means for pods that run: Ray reads its files once, so a pod stays what it was when it started."""

from dataclasses import dataclass
from datetime import datetime

from certs.identity import Cluster
from certs.profile import Profile
from certs.seed import Generation, Seed


@dataclass(frozen=True, slots=True)
class Standing:
    """How a pod stands to the seed as it is now.

    `signer` is the generation its certificate is of; None for one that is forgotten. `unaware`: it does not trust
    every CA that may sign next. `ends`: when its certificate ends.
    """

    signer: Generation | None
    unaware: bool
    ends: datetime


def standing(seed: Seed, cluster: Cluster, started: datetime, profile: Profile) -> Standing:
    """The standing of a pod of `cluster` that started then, with the lifetime that `profile` gives."""
    signer = seed.for_cluster(cluster.created, at=started)
    unaware = any(generation.activated > started for generation in seed.signing())
    # A generation cannot have signed before it was: then the one that did is forgotten.
    return Standing(signer if signer.activated <= started else None, unaware, started + profile.lifetime)
