"""Who is asking, and which names it may hold: derived from what the API server says, never from what was asked for."""

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
_OPT_IN_CLUSTER_LABEL = "raywarden.io/cluster"
_OPT_IN_ROLE_LABEL = "raywarden.io/role"
# Ray's own processes and drivers dial these (localhost alone does not replace 127.0.0.1).
_LOOPBACK = (
    x509.IPAddress(ip_address("127.0.0.1")),
    x509.IPAddress(ip_address("::1")),
    x509.DNSName("localhost"),
)
# RFC 1035 labels, as the API server demands of Services. A name in a RayCluster is only checked when its Service is
# made: without this, `*` or a whole foreign host name would do.
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
# A certificate has to fit into a TLS handshake, however many Services somebody lets select one pod: gRPC gives up on
# chains of some 12 kB.
_MAX_NAME_BYTES = 4096


class NotAllowedError(Exception):
    """This caller gets no certificate; the message says why and is for the caller to read."""


class Role(StrEnum):
    """What a pod is in its Ray cluster; a client talks to it from outside."""

    HEAD = "head"
    WORKER = "worker"
    CLIENT = "client"


@dataclass(frozen=True, slots=True)
class TokenIdentity:
    """What a valid token says of its bearer."""

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
    """A live pod. `ended`: it is being deleted, or has run to its end. `addresses` are empty until they are known."""

    namespace: str
    name: str
    uid: str
    labels: Mapping[str, str]
    owner: Owner | None
    service_account: str
    addresses: tuple[Address, ...]
    ended: bool


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a certificate authority belongs to.

    A live RayCluster; or, for Ray without KubeRay (`opted_in`), a name in a live namespace, whose uid and time of
    creation it then bears. `ended`: it is being deleted. `head_services` are the names KubeRay gives the Services of
    its head.
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
    """A Service: the pods it selects may answer to its name."""

    name: str
    selector: Mapping[str, str]

    def selects(self, pod: LivePod) -> bool:
        return bool(self.selector) and self.selector.items() <= pod.labels.items()


@dataclass(frozen=True, slots=True)
class Domains:
    """The DNS domain of the Kubernetes cluster and the SPIFFE trust domain.

    `short_names`: names of Services also without `.svc`. Not where a root from outside vouches for them: `mail.dev` is
    a Service in the namespace dev, and somebody's host.
    """

    cluster: str = "cluster.local"
    trust: str = "cluster.local"
    short_names: bool = True


@dataclass(frozen=True, slots=True)
class Membership:
    """The place in a Ray cluster that a pod claims by its labels; its claim is not yet proved.

    `uid` is that of the RayCluster which owns the pod; empty for Ray without KubeRay.
    """

    cluster: str
    uid: str
    role: Role


@dataclass(frozen=True, slots=True)
class Identity:
    """A pod in its cluster, and the names its certificate will hold."""

    pod: str
    cluster: Cluster
    role: Role
    names: tuple[x509.GeneralName, ...]


def membership(caller: TokenIdentity, pod: LivePod | None) -> Membership:
    """The place in a cluster that the bearer's live pod claims; raises NotAllowedError.

    A label alone makes no member of a KubeRay cluster: the pod must be owned by it.
    """
    if pod is None or pod.uid != caller.pod_uid:
        raise NotAllowedError("the pod this token is bound to does not exist any more")
    if pod.ended:
        raise NotAllowedError("the pod this token is bound to has ended or is being deleted")
    if pod.service_account != caller.service_account:
        raise NotAllowedError("the token is of another service account than the pod's")
    if _CLUSTER_LABEL in pod.labels:
        return _of_kuberay(pod)
    return _opted_in(pod)


def _of_kuberay(pod: LivePod) -> Membership:
    cluster, owner = pod.labels[_CLUSTER_LABEL], pod.owner
    if owner is None or (owner.group, owner.kind, owner.name) != ("ray.io", "RayCluster", cluster):
        raise NotAllowedError(
            f"the pod has the label {_CLUSTER_LABEL}: {cluster} but is not owned by that RayCluster"
        )
    role = pod.labels.get(_NODE_TYPE_LABEL, "")
    if role not in (Role.HEAD, Role.WORKER):
        raise NotAllowedError(
            f"only head and worker pods of a RayCluster get a certificate, not {role or 'others'}"
        )
    return Membership(cluster, owner.uid, Role(role))


def _opted_in(pod: LivePod) -> Membership:
    cluster, role = (
        pod.labels.get(_OPT_IN_CLUSTER_LABEL, ""),
        pod.labels.get(_OPT_IN_ROLE_LABEL, ""),
    )
    if not cluster:
        raise NotAllowedError(
            f"the pod is not of Ray: it has neither KubeRay's label {_CLUSTER_LABEL} nor {_OPT_IN_CLUSTER_LABEL}"
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
    """The identity of a pod in the live cluster it claims to be of; raises NotAllowedError.

    `services` are those of the pod's namespace. KubeRay's own names come first, then those of Services that select
    the pod, in the order of their names, until 4 kB are full.
    """
    if cluster is None or cluster.ended or (claim.uid and cluster.uid != claim.uid):
        what = (
            f"the RayCluster {claim.cluster} that owns the pod"
            if claim.uid
            else f"the namespace {pod.namespace}"
        )
        raise NotAllowedError(f"{what} does not exist any more, or is being deleted")
    # A name in a namespace is not the RayCluster of that name, whoever asks from outside.
    kind = "ray-opted-in" if cluster.opted_in else "ray"
    uri = f"spiffe://{domains.trust}/ns/{pod.namespace}/{kind}/{cluster.name}/{claim.role}"
    names: list[x509.GeneralName] = [x509.IPAddress(address) for address in pod.addresses]
    if claim.role is not Role.CLIENT:
        names += _LOOPBACK
        names += map(x509.DNSName, _host_names(claim.role, pod, cluster, services, domains))
    names.append(x509.UniformResourceIdentifier(uri))
    return Identity(pod.name, cluster, claim.role, tuple(dict.fromkeys(names)))


def _host_names(
    role: Role, pod: LivePod, cluster: Cluster, services: Iterable[Service], domains: Domains
) -> Iterator[str]:
    ours = cluster.head_services if role is Role.HEAD else ()
    selecting = sorted(service.name for service in services if service.selects(pod))
    room = _MAX_NAME_BYTES
    for name in dict.fromkeys((*ours, *selecting)):
        if _SERVICE_NAME.fullmatch(name):
            full = f"{name}.{pod.namespace}.svc"
            short = (name, f"{name}.{pod.namespace}") if domains.short_names else ()
            forms = (*short, full, f"{full}.{domains.cluster}")
            room -= sum(map(len, forms))
            if room < 0:
                return
            yield from forms
