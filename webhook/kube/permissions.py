"""What the server asks of the API server, verb by verb, and why: no right it has is without a use."""

from collections.abc import Iterator
from dataclasses import dataclass

from webhook.kube.adapters import CONFIGURATIONS, PODS, SECRETS, SEED, TOKEN_REVIEWS
from webhook.kube.memory import NAMESPACES, RAY_CLUSTERS, WATCHED
from webhook.kube.request import Resource


@dataclass(frozen=True, slots=True)
class Permission:
    """A verb on a resource, in the words of RBAC.

    In all namespaces, or in our own alone (`ours`); on every object, or on the one of a `name`.
    """

    verb: str
    resource: Resource
    ours: bool = False
    name: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}" + (f" {self.name}" if self.name else "")


def permissions(configuration: str, own_seed: bool = True) -> Iterator[Permission]:
    """Every right there must be.

    `configuration` is the name of our webhook configurations, empty where their caBundle is not ours to write;
    `own_seed` is whether the seed is kept in the Secret, and not mounted.
    """
    # What the rules may know is in memory before anybody asks: all of it is listed once and then watched.
    for resource in WATCHED:
        yield from (Permission("list", resource), Permission("watch", resource))
    # What decides who is signed by which CA is asked for every time.
    yield Permission("create", TOKEN_REVIEWS)
    yield from (Permission("get", resource) for resource in (PODS, RAY_CLUSTERS, NAMESPACES))
    for resource in CONFIGURATIONS if configuration else ():
        yield from (Permission(verb, resource, name=configuration) for verb in ("get", "patch"))
    if own_seed:
        # RBAC knows no names at creation.
        yield Permission("create", SECRETS, ours=True)
        yield from (Permission(verb, SECRETS, ours=True, name=SEED) for verb in ("get", "update"))
