"""What a rotation means for pods that run: Ray reads its files once, so a pod stays what it was when it started."""

from dataclasses import dataclass
from datetime import datetime

from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.seed import Generation, Seed


@dataclass(frozen=True, slots=True)
class PodCertificateStatus:
    """How a pod stands to the seed as it is now.

    `signer` is the generation its certificate is of; None for one that is forgotten. `unaware`: it does not trust
    every CA that may sign next. `ends`: when its certificate ends.
    """

    signer: Generation | None
    missing_new_ca: bool
    ends: datetime


def pod_certificate_status(
    seed: Seed, cluster: Cluster, started: datetime, profile: CertificateProfile
) -> PodCertificateStatus:
    """The standing of a pod of `cluster` that started then, with the lifetime that `profile` gives."""
    signer = seed.for_cluster(cluster.created, at=started)
    missing_new_ca = any(generation.activated > started for generation in seed.signing())
    # A generation cannot have signed before it was: then the one that did is forgotten.
    return PodCertificateStatus(
        signer if signer.activated <= started else None, missing_new_ca, started + profile.lifetime
    )
