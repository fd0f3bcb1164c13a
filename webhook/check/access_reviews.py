"""Asks the API server whether service accounts have the permissions they need."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from policies.cluster.rbac import groups_of, user_name
from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict
from policies.injection.api_token import dashboard_reviewer
from policies.injection.api_token import token_reviewers as reviewers_of
from policies.ray.workload import Workload
from webhook.check.deployment import ServerDeployment
from webhook.kube.api import KubeApi
from webhook.kube.client_requests import ACCESS_REVIEWS
from webhook.kube.live import TOKEN_REVIEWS
from webhook.kube.permissions import Permission, permissions
from webhook.kube.request import Resource

# There are about 30 reviews; this many at once is quick and not a burst for the API server.
_MAX_CONCURRENT = 8
# Three reviews each. More clusters than this are usually bound by group, and then alike.
_MAX_TOKEN_REVIEWERS = 50


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
            answer = await api.review(ACCESS_REVIEWS, review)
        return as_dict(answer.get("status")).get("allowed") is True

    # The first review goes alone: if the caller may not create reviews, one attempt is enough.
    first = await is_allowed(needed[0])
    answers = [first, *await asyncio.gather(*map(is_allowed, needed[1:]))]
    titles = [_title(permission, namespace) for permission in needed]
    return dict(zip(titles, answers, strict=True))


def _title(permission: Permission, namespace: str) -> str:
    return f"{permission} in namespace {namespace}" if permission.ours else str(permission)


def _access_review(permission: Permission, namespace: str, account: str) -> Mapping[str, Any]:
    return _review_of(
        namespace,
        account,
        {
            "verb": permission.verb,
            "version": permission.resource.version,
            **_kind_of(permission.resource),
            "namespace": namespace if permission.ours else "",
            "name": permission.name,
        },
    )


def _kind_of(resource: Resource) -> Mapping[str, str]:
    plural, _, subresource = resource.plural.partition("/")
    return {"group": resource.group, "resource": plural, "subresource": subresource}


def _review_of(namespace: str, account: str, attributes: Mapping[str, str]) -> Mapping[str, Any]:
    spec = {
        "user": user_name(namespace, account),
        "groups": list(groups_of(namespace)),
        "resourceAttributes": attributes,
    }
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


@dataclass(frozen=True, slots=True)
class TokenReviewer:
    """A service account whose Ray pods ask the API server about tokens.

    `of_proxy`: RayWarden's proxy in front of the dashboard asks, not Ray. `reviews`: it may create
    TokenReviews and SubjectAccessReviews. `is_member`: its own token is accepted by its RayCluster.
    """

    namespace: str
    account: str
    cluster: str
    reviews: bool
    is_member: bool
    of_proxy: bool = False


async def token_reviewers(
    api: KubeApi, ray_clusters: Iterable[Mapping[str, Any]]
) -> Sequence[TokenReviewer]:
    """What the service accounts of the RayClusters with Kubernetes tokens or a proxy may do.

    The first 50 of them. Raises ForbiddenError if the caller may not create SubjectAccessReviews.
    """
    accounts = dict.fromkeys(
        (namespace_of(document), account, name_of(document), of_proxy)
        for document in ray_clusters
        for account, of_proxy in _reviewers_of(Workload("RayCluster", document))
    )
    return [
        await _token_reviewer(api, *account) for account in islice(accounts, _MAX_TOKEN_REVIEWERS)
    ]


def _reviewers_of(workload: Workload) -> Iterator[tuple[str, bool]]:
    yield from ((account, False) for account, _ in reviewers_of(workload))
    proxied = dashboard_reviewer(workload)
    if proxied is not None:
        yield proxied[0], True


async def _token_reviewer(
    api: KubeApi, namespace: str, account: str, cluster: str, of_proxy: bool
) -> TokenReviewer:
    async def is_allowed(**attributes: str) -> bool:
        review = _review_of(namespace, account, attributes)
        answer = await api.review(ACCESS_REVIEWS, review)
        return as_dict(answer.get("status")).get("allowed") is True

    reviews = [
        await is_allowed(verb="create", group=resource.group, resource=resource.plural)
        for resource in (TOKEN_REVIEWS, ACCESS_REVIEWS)
    ]
    # What Ray itself asks (`src/ray/rpc/authentication/k8s_util.cc`).
    is_member = await is_allowed(
        verb="ray:write", group="ray.io", resource="rayclusters", namespace=namespace, name=cluster
    )
    return TokenReviewer(namespace, account, cluster, all(reviews), is_member, of_proxy)
