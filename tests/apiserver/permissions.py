"""The rights that `deploy/base` grants to the server, to give to service accounts in tests."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

from tests.apiserver.control_plane import ControlPlane
from tests.support.deployed import base, only
from tests.support.kube_conversation import talk
from webhook.kube.api import KubeApi
from webhook.ports import UnavailableError

REGISTRATION = "admissionregistration.k8s.io"
RBAC = "/apis/rbac.authorization.k8s.io/v1"

Rules = Sequence[Mapping[str, Sequence[str]]]

# The shipped rules: for all namespaces, and for RayWarden's own namespace.
_ROLES = ("raywarden", "raywarden-network-policies")
CLUSTER_RULES: Rules = [
    rule for name in _ROLES for rule in only(base(), "ClusterRole", name)["rules"]
]
OWN_RULES: Rules = [rule for name in _ROLES for rule in only(base(), "Role", name)["rules"]]


def watched(rules: Rules) -> set[str]:
    """The resources that the server watches, under the names that `/readyz` uses."""
    resources = set()
    for rule in rules:
        if "watch" in rule["verbs"]:
            for group, resource in product(rule["apiGroups"], rule["resources"]):
                resources.add(f"{resource}.{group}".rstrip("."))
    return resources


def without(rules: Rules, resource: str) -> Rules:
    return tuple(rule for rule in rules if resource not in rule["resources"])


def grant(
    control_plane: ControlPlane, namespace: str, cluster_rules: Rules, own_rules: Rules
) -> None:
    """Grant these rules to the service account `raywarden` of a namespace."""
    subjects = [{"kind": "ServiceAccount", "name": "raywarden", "namespace": namespace}]
    for kind, path, rules in (
        ("ClusterRole", RBAC, cluster_rules),
        ("Role", f"{RBAC}/namespaces/{namespace}", own_rules),
    ):
        control_plane.make(
            f"{path}/{kind.lower()}s", {"metadata": {"name": namespace}, "rules": rules}
        )
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": namespace}
        binding = {"metadata": {"name": namespace}, "roleRef": reference, "subjects": subjects}
        control_plane.make(f"{path}/{kind.lower()}bindings", binding)


async def granted(ask: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Wait until the rights are in force: the API server learns of them with some delay."""
    async with asyncio.timeout(20):
        while True:
            with suppress(UnavailableError):
                await ask()
                return
            await asyncio.sleep(0.02)


_TLS_GOODBYE_SECONDS = 0.25


def as_raywarden(
    control_plane: ControlPlane,
    namespace: str,
    conversation: Callable[[KubeApi], Coroutine[Any, Any, None]],
) -> None:
    """Call the API server as the service account `raywarden`, with a real token."""
    kubeconfig = control_plane.kubeconfig(namespace, control_plane.token(namespace, "raywarden"))

    async def main() -> None:
        async with await KubeApi.connect(kubeconfig) as api:
            await conversation(api)
        # aiohttp closes a session before its TLS connections have said goodbye ("Graceful Shutdown"
        # in its documentation); a loop that ends earlier leaves their sockets open.
        await asyncio.sleep(_TLS_GOODBYE_SECONDS)

    talk(main())
