"""What a seed rotation means for running pods.

Ray reads its certificate files once, so a pod keeps the certificate and the CAs it started with.
"""

from dataclasses import dataclass
from datetime import datetime

from certs.identity import Cluster
from certs.profile import CertificateProfile
from certs.seed import Generation, Seed


@dataclass(frozen=True, slots=True)
class PodCertificateStatus:
    """How the certificate of a running pod relates to the current seed.

    `signer`: the generation that signed it; None if that generation has been removed from the seed.
    `missing_new_ca`: the pod does not trust every CA that may sign next, so it must restart before
    an older generation is revoked. `ends`: the end of its certificate.
    """

    signer: Generation | None
    missing_new_ca: bool
    ends: datetime


def pod_certificate_status(
    seed: Seed, cluster: Cluster, started: datetime, profile: CertificateProfile
) -> PodCertificateStatus:
    """The certificate status of a pod of `cluster` that started at `started`."""
    signer = seed.for_cluster(cluster.created, at=started)
    missing_new_ca = any(generation.activated > started for generation in seed.signing())
    # A generation activated after the pod started cannot have signed its certificate: then the
    # generation that did is no longer in the seed.
    known_signer = signer if signer.activated <= started else None
    return PodCertificateStatus(known_signer, missing_new_ca, started + profile.lifetime)
