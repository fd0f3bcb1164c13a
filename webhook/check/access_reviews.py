"""Asks the API server whether the server's service account has the permissions it needs."""

import asyncio
from collections.abc import Mapping
from typing import Any

from policies.documents.untyped import as_dict
from webhook.check.deployment import ServerDeployment
from webhook.kube.api import KubeApi
from webhook.kube.permissions import Permission, permissions
from webhook.kube.request import Resource

_ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
# There are about 30 reviews; this many at once is quick and not a burst for the API server.
_MAX_CONCURRENT = 8


async def server_permissions(
    api: KubeApi, namespace: str, deployment: ServerDeployment
) -> Mapping[str, bool]:
    """Each permission the server needs, in words, and whether its service account has it.

    Raises ForbiddenError if the caller may not create SubjectAccessReviews.
    """
    account = deployment.service_account
    needed = list(
        permissions(
            deployment.configuration,
            own_seed=not deployment.own_seed,
            clients=deployment.signs_for_clients,
            network_policies=deployment.writes_network_policies,
        )
    )
    limit = asyncio.Semaphore(_MAX_CONCURRENT)

    async def is_allowed(permission: Permission) -> bool:
        async with limit:
            review = _access_review(permission, namespace, account)
            answer = await api.review(_ACCESS_REVIEWS, review)
        return as_dict(answer.get("status")).get("allowed") is True

    # The first review goes alone: if the caller may not create reviews, one attempt is enough.
    first = await is_allowed(needed[0])
    answers = [first, *await asyncio.gather(*map(is_allowed, needed[1:]))]
    titles = [_title(permission, namespace) for permission in needed]
    return dict(zip(titles, answers, strict=True))


def _title(permission: Permission, namespace: str) -> str:
    return f"{permission} in namespace {namespace}" if permission.ours else str(permission)


def _access_review(permission: Permission, namespace: str, account: str) -> Mapping[str, Any]:
    resource, _, subresource = permission.resource.plural.partition("/")
    attributes = {
        "verb": permission.verb,
        "group": permission.resource.group,
        "version": permission.resource.version,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace if permission.ours else "",
        "name": permission.name,
    }
    service_accounts = "system:serviceaccounts"
    spec = {
        "user": f"system:serviceaccount:{namespace}:{account}",
        "groups": [service_accounts, f"{service_accounts}:{namespace}", "system:authenticated"],
        "resourceAttributes": attributes,
    }
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
