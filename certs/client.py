"""What a person's certificate signing request names: the cluster they want to connect to.

Its subject is `O=ray, OU=NAMESPACE, CN=CLUSTER`, in this order and nothing else. For Ray without
KubeRay, the organization is `ray-opted-in`. The subject is part of what the key signs, and nobody
can change it afterwards.
"""

import re
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from certs import csr
from certs.identity import OPTED_IN_KIND, RAY_KIND
from certs.profile import PublicKey

# An RSA key of 8192 bits makes a request of 3 kB.
_MAX_BYTES = 8192
_ATTRIBUTES = (
    NameOID.ORGANIZATION_NAME,
    NameOID.ORGANIZATIONAL_UNIT_NAME,
    NameOID.COMMON_NAME,
)
# A namespace is a DNS label. The name of a cluster without KubeRay is the value of a label, which
# is the wider form.
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CLUSTER = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_EXPECTED = "its subject must be O=ray, OU=NAMESPACE, CN=CLUSTER, in this order and nothing else"


@dataclass(frozen=True, slots=True)
class ClusterName:
    """The name of a RayCluster, or of a Ray cluster without KubeRay (`opted_in`)."""

    namespace: str
    name: str
    opted_in: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @property
    def is_valid(self) -> bool:
        """Whether a cluster can have this name."""
        return bool(_NAMESPACE.fullmatch(self.namespace) and _CLUSTER.fullmatch(self.name))

    @property
    def subject(self) -> x509.Name:
        """The subject of a request for a certificate of this cluster."""
        kind = OPTED_IN_KIND if self.opted_in else RAY_KIND
        values = (kind, self.namespace, self.name)
        return x509.Name(
            [x509.NameAttribute(oid, value) for oid, value in zip(_ATTRIBUTES, values, strict=True)]
        )


def requested_cluster(pem: bytes) -> tuple[ClusterName, PublicKey]:
    """The cluster that a request (PKCS #10, PEM) names, and its public key; raises CsrError.

    Everything that `csr.public_key` refuses is refused: the sender must hold the private key, and
    may ask for no names or usages.
    """
    if len(pem) > _MAX_BYTES:
        raise csr.CsrError((f"the CSR is larger than {_MAX_BYTES} bytes",))
    key = csr.public_key(pem)
    try:
        subject = x509.load_pem_x509_csr(pem).subject
    except ValueError:
        raise csr.CsrError((f"the CSR's subject cannot be read; {_EXPECTED}",)) from None
    name = _cluster_in(subject)
    if name is None:
        raise csr.CsrError((f"the CSR names no cluster; {_EXPECTED}",))
    return name, key


def _cluster_in(subject: x509.Name) -> ClusterName | None:
    attributes = list(subject)
    # An RDN can hold several attributes, whose order is not defined.
    if len(subject.rdns) != len(attributes):
        return None
    if tuple(attribute.oid for attribute in attributes) != _ATTRIBUTES:
        return None
    kind, namespace, name = (str(attribute.value) for attribute in attributes)
    if kind not in (RAY_KIND, OPTED_IN_KIND):
        return None
    cluster = ClusterName(namespace, name, opted_in=kind == OPTED_IN_KIND)
    return cluster if cluster.is_valid else None
