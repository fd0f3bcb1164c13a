"""Decides which pod is enrolling and which names its certificate holds.

Both are derived from live objects of the API server, never from the certificate request.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address

from cryptography import x509

Address = IPv4Address | IPv6Address

_CLUSTER_LABEL = "ray.io/cluster"
_NODE_TYPE_LABEL = "ray.io/node-type"
# A pod with any of these claims to belong to a RayCluster.
_CLAIM_LABELS = (_CLUSTER_LABEL, _NODE_TYPE_LABEL, "ray.io/group")
_OPT_IN_CLUSTER_LABEL = "raywarden.io/cluster"
_OPT_IN_ROLE_LABEL = "raywarden.io/role"
# Ray's own processes and drivers connect to these. Each form is needed: a client that connects to
# 127.0.0.1 does not accept a certificate for the DNS name localhost.
_LOOPBACK = (
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
    x509.DNSName("localhost"),
)
# RFC 1035 labels, the rule of the API server for names of Services. The API server does not check
# the name of a head Service in a RayCluster until KubeRay creates that Service. Without this check,
# an author could get a certificate for `*` or for any host name.
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
# The name of a pod with a host name and a subdomain, two RFC 1123 labels. A Service name has no
# dot, so this is never the name of a head.
_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_POD_HOST = re.compile(rf"{_LABEL}\.{_LABEL}")
# The kind of a cluster in SPIFFE ids. An opted-in cluster may have the name of a RayCluster in the
# same namespace; anyone who authorizes by SPIFFE id must be able to tell them apart.
RAY_KIND, OPTED_IN_KIND = "ray", "ray-opted-in"
# A certificate must fit into a TLS handshake, even if an author creates many Services that select
# one pod: gRPC fails with certificate chains of about 12 kB.
_MAX_NAME_BYTES = 4096


class NotAllowedError(Exception):
    """The caller must not get a certificate; the message tells the caller why."""


class Role(StrEnum):
    """The role of a pod in its Ray cluster; a client connects to the cluster from outside."""

    HEAD = "head"
    WORKER = "worker"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """The pod and service account that a valid token names."""

    namespace: str
    service_account: str
    pod: str
    pod_uid: str


@dataclass(frozen=True, slots=True)
class Owner:
    """The controller in an object's owner references."""

    group: str
    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class LivePod:
    """A live pod.

    `ended`: it has terminated or is being deleted. `addresses` is empty until the pod has an IP.
    `host`: `<hostname>.<subdomain>`, its DNS name among the Services of the namespace; no name if
    the pod does not have both.
    """

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    owner: Owner | None
    service_account: str
    addresses: tuple[Address, ...]
    ended: bool
    host: str = ""


@dataclass(frozen=True, slots=True)
class Cluster:
    """The Ray cluster that a certificate authority belongs to.

    A cluster is a live RayCluster. For Ray without KubeRay (`opted_in`) it is a name within a live
    namespace; `uid` and `created` are then those of the namespace. `ended`: it is being deleted.
    `head_services`: the names that KubeRay gives to the Services of the head.
    """

    namespace: str
    name: str
    uid: str
    created: datetime
    opted_in: bool = False
    ended: bool = field(default=False, compare=False)
    head_services: tuple[str, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Service:
    """A Service; the pods that it selects may serve under its name."""

    name: str
    selector: Mapping[str, str]

    def selects(self, pod: LivePod) -> bool:
        """Whether the pod has all labels of the selector; an empty selector selects no pod."""
        return bool(self.selector) and self.selector.items() <= pod.labels.items()


@dataclass(frozen=True, slots=True)
class Domains:
    """The DNS domain of the Kubernetes cluster and the SPIFFE trust domain.

    `short_names`: certificates also hold names of Services without `.svc`. This must be off below
    an organization's root: `mail.dev` is a Service in the namespace dev, but it may also be a host
    of the organization.
    """

    cluster: str = "cluster.local"
    trust: str = "cluster.local"
    short_names: bool = True


@dataclass(frozen=True, slots=True)
class Membership:
    """The cluster and role that a pod claims; `identify` verifies the claim.

    `uid` is the uid of the RayCluster that owns the pod; empty for Ray without KubeRay.
    """

    cluster: str
    uid: str
    role: Role


@dataclass(frozen=True, slots=True)
class Identity:
    """A pod in its cluster, and the names that its certificate will hold."""

    pod: str
    cluster: Cluster
    role: Role
    names: tuple[x509.GeneralName, ...]


def membership(caller: TokenIdentity, pod: LivePod | None) -> Membership:
    """The cluster and role that the caller's live pod claims.

    A label does not make a pod a member of a RayCluster: the RayCluster must also be the controller
    of the pod. Raises NotAllowedError.
    """
    if pod is None or pod.uid != caller.pod_uid:
        raise NotAllowedError("the pod that this token is bound to no longer exists")
    if pod.ended:
        raise NotAllowedError(
            "the pod that this token is bound to has terminated or is being deleted"
        )
    if pod.service_account != caller.service_account:
        raise NotAllowedError("the pod that this token is bound to runs as another service account")
    # KubeRay's labels come first: the opt-in label must not bypass the check of the owner.
    if any(label in pod.labels for label in _CLAIM_LABELS):
        return _kuberay_membership(pod)
    return _opted_in_membership(pod)


def _kuberay_membership(pod: LivePod) -> Membership:
    cluster, owner = pod.labels.get(_CLUSTER_LABEL, ""), pod.owner
    if not cluster:
        claims = ", ".join(label for label in _CLAIM_LABELS if label in pod.labels)
        raise NotAllowedError(
            f"the pod claims to belong to a RayCluster ({claims}), "
            f"but the label {_CLUSTER_LABEL} does not name one"
        )
    if owner is None or (owner.group, owner.kind, owner.name) != ("ray.io", "RayCluster", cluster):
        raise NotAllowedError(
            f"the pod has the label {_CLUSTER_LABEL}: {cluster} but is not owned by that RayCluster"
        )
    role = pod.labels.get(_NODE_TYPE_LABEL, "")
    if role not in (Role.HEAD, Role.WORKER):
        raise NotAllowedError(
            "only head and worker pods of a RayCluster get a certificate; "
            f"the label {_NODE_TYPE_LABEL} of this pod is {role or 'missing'}"
        )
    return Membership(cluster, owner.uid, Role(role))


def _opted_in_membership(pod: LivePod) -> Membership:
    cluster = pod.labels.get(_OPT_IN_CLUSTER_LABEL, "")
    role = pod.labels.get(_OPT_IN_ROLE_LABEL, "")
    if not cluster:
        raise NotAllowedError(
            "the pod does not belong to a Ray cluster: "
            f"it has neither the label {_CLUSTER_LABEL} nor {_OPT_IN_CLUSTER_LABEL}"
        )
    if role not in tuple(Role):
        raise NotAllowedError(f"the label {_OPT_IN_ROLE_LABEL} must be head, worker or client")
    return Membership(cluster, "", Role(role))


def identify(
    claim: Membership,
    pod: LivePod,
    cluster: Cluster | None,
    services: Iterable[Service],
    domains: Domains,
) -> Identity:
    """The identity of a pod in the live cluster that it claims to belong to.

    `services` are the Services of the pod's namespace. The certificate holds the pod's own DNS name
    first, then the names that KubeRay gives to the head, then the names of the Services that select
    the pod, in alphabetical order, up to 4 kB. Raises NotAllowedError.
    """
    if cluster is None or cluster.ended or (claim.uid and cluster.uid != claim.uid):
        owner = f"the namespace {pod.namespace}"
        if claim.uid:
            owner = f"the RayCluster {claim.cluster} that owns the pod"
        raise NotAllowedError(f"{owner} no longer exists or is being deleted")
    names: list[x509.GeneralName] = [x509.IPAddress(address) for address in pod.addresses]
    if claim.role is not Role.CLIENT:
        names += _LOOPBACK
        names += map(x509.DNSName, _host_names(claim.role, pod, cluster, services, domains))
    names.append(spiffe_id(cluster, claim.role, domains))
    return Identity(pod.name, cluster, claim.role, tuple(dict.fromkeys(names)))


def spiffe_id(cluster: Cluster, role: Role, domains: Domains) -> x509.UniformResourceIdentifier:
    """The SPIFFE id of a role in a cluster.

    It is the only name in a person's certificate: no Ray process can serve under it.
    """
    kind = OPTED_IN_KIND if cluster.opted_in else RAY_KIND
    path = f"ns/{cluster.namespace}/{kind}/{cluster.name}/{role}"
    return x509.UniformResourceIdentifier(f"spiffe://{domains.trust}/{path}")


def _host_names(
    role: Role, pod: LivePod, cluster: Cluster, services: Iterable[Service], domains: Domains
) -> Iterator[str]:
    if _POD_HOST.fullmatch(pod.host):
        own = f"{pod.host}.{pod.namespace}.svc"
        yield from (own, f"{own}.{domains.cluster}")
    head_services = cluster.head_services if role is Role.HEAD else ()
    selecting = sorted(service.name for service in services if service.selects(pod))
    remaining = _MAX_NAME_BYTES
    for name in dict.fromkeys((*head_services, *selecting)):
        if _SERVICE_NAME.fullmatch(name):
            full = f"{name}.{pod.namespace}.svc"
            short = (name, f"{name}.{pod.namespace}") if domains.short_names else ()
            forms = (*short, full, f"{full}.{domains.cluster}")
            remaining -= sum(map(len, forms))
            if remaining < 0:
                return
            yield from forms
