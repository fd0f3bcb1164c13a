"""The RBAC permissions that the server needs, each with the reason for it; it has no others."""

from collections.abc import Iterator
from dataclasses import dataclass

from webhook.kube.adapters import CONFIGURATIONS, SECRETS, SEED
from webhook.kube.client_requests import (
    ACCESS_REVIEWS,
    APPROVAL,
    REQUESTS,
    SIGNER,
    SIGNERS,
    STATUS,
)
from webhook.kube.live import TOKEN_REVIEWS
from webhook.kube.memory import NAMESPACES, NETWORK_POLICIES, RAY_CLUSTERS, WATCHED
from webhook.kube.pods import PODS
from webhook.kube.policy_writer import EVENTS, LEASE, LEASES
from webhook.kube.request import Resource

_APPLY = ("create", "patch")


@dataclass(frozen=True, slots=True)
class Permission:
    """An RBAC verb on a resource.

    It covers all namespaces, or with `ours` only RayWarden's own; with a `name`, only one object.
    """

    verb: str
    resource: Resource
    ours: bool = False
    name: str = ""

    def __str__(self) -> str:
        permission = f"{self.verb} {self.resource}"
        return f"{permission} {self.name}" if self.name else permission


def permissions(
    configuration: str,
    own_seed: bool = True,
    network_policies: bool = True,
    *,
    clients: bool = False,
) -> Iterator[Permission]:
    """Every permission that the server needs.

    `configuration` is the name of RayWarden's webhook configurations, empty if it does not write
    their caBundle. `own_seed` is whether the seed is in the Secret; otherwise it is mounted.
    `network_policies` is whether it writes NetworkPolicies.
    `clients` is whether RayWarden signs certificates for people (`deploy/components/connect`).
    """
    # The rules decide from memory, which is filled before any request: list once, then watch.
    for resource in WATCHED:
        yield Permission("list", resource)
        yield Permission("watch", resource)
    # Enrollment has the pods that start in memory, too. It reads what is not there or may be out of
    # date, and has tokens reviewed that the published keys do not verify.
    yield Permission("list", PODS)
    yield Permission("watch", PODS)
    yield Permission("create", TOKEN_REVIEWS)
    for resource in (PODS, RAY_CLUSTERS, NAMESPACES):
        yield Permission("get", resource)
    if configuration:
        for resource in CONFIGURATIONS:
            yield Permission("get", resource, name=configuration)
            yield Permission("patch", resource, name=configuration)
    if own_seed:
        # RBAC cannot restrict "create" to a name.
        yield Permission("create", SECRETS, ours=True)
        yield Permission("get", SECRETS, ours=True, name=SEED)
        yield Permission("update", SECRETS, ours=True, name=SEED)
    if network_policies:
        yield from _of_network_policies()
    if clients:
        yield from client_permissions()


def _of_network_policies() -> Iterator[Permission]:
    # To apply an object that does not exist yet needs both. A policy that is not wanted any more is
    # deleted.
    for resource, verbs in ((NETWORK_POLICIES, ("create", "patch", "delete")), (EVENTS, _APPLY)):
        for verb in verbs:
            yield Permission(verb, resource)
    # The Lease of the replica that writes. RBAC cannot restrict "create" to a name.
    yield Permission("create", LEASES, ours=True)
    yield Permission("get", LEASES, ours=True, name=LEASE)
    yield Permission("update", LEASES, ours=True, name=LEASE)


def client_permissions() -> Iterator[Permission]:
    """What the signer of people's certificates needs besides."""
    for verb in ("get", "list", "watch"):
        yield Permission(verb, REQUESTS)
    for subresource in (APPROVAL, STATUS):
        yield Permission("update", subresource)
    # The API server asks for these when a request for this signer is approved or signed.
    for verb in ("approve", "sign"):
        yield Permission(verb, SIGNERS, name=SIGNER)
    yield Permission("create", ACCESS_REVIEWS)
    yield Permission("create", EVENTS)
