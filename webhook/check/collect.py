"""Asks a cluster everything `raywarden check` wants to know, with the rights of whoever calls; changes nothing."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from policies.cluster.rbac import RbacBinding, RbacGrants, RbacRole
from policies.documents.untyped import as_dict, as_str, dict_items
from webhook import __version__
from webhook.check.coverage import ray_namespaces
from webhook.check.deployed import DEPLOYMENT, Deployed, PolicyText, shared_settings
from webhook.check.dry_run import BARE_CLUSTER, FORGED_POD
from webhook.check.findings import (
    MUTATING,
    RAY_KINDS,
    VALIDATING,
    CheckFacts,
    DryRunAnswer,
    Object,
    Objects,
    Unavailable,
    can_i,
)
from webhook.check.registration import labels_by_namespace, names_of, passing_by
from webhook.kube.adapters import CONFIGURATIONS, PODS, KubeObjectLists, KubeSeedStore
from webhook.kube.api import KubeApi
from webhook.kube.memory import BINDINGS, RAY_CLUSTERS, ROLES, SERVICES
from webhook.kube.permissions import Permission, permissions
from webhook.kube.request import ForbiddenError, NotFoundError, RefusedError, Resource
from webhook.ports import ConflictError, UnavailableError

T = TypeVar("T")

_ACCESS_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews")
_CONFIG_MAPS = Resource("", "v1", "configmaps")
_DEPLOYMENTS = Resource("apps", "v1", "deployments")
_OPERATOR = "app.kubernetes.io/name in (kuberay, kuberay-operator)"
_AT_ONCE = 8


class Inspection:
    """What is asked, over a connection of the caller's; `namespace` is the server's own."""

    def __init__(self, api: KubeApi, namespace: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._lists = KubeObjectLists(api)
        self._namespace = namespace
        self._now = now

    async def facts(self, dry_run_in: str = "") -> CheckFacts:
        """Everything, with a dry run in that namespace, or else in one that has Ray in it.

        What is not answered is said where it is asked; raises UnavailableError where there is no API server to ask.
        """
        server = await self._server()
        deployed = await _answer(self._deployed())
        known_deployed = deployed if isinstance(deployed, Deployed) else None
        kinds, seed, namespaces, ray_pods, operators, rbac = await asyncio.gather(
            _answer(self._ray_kinds()),
            _answer(KubeSeedStore(self._api, self._namespace).load()),
            _answer(self._lists.namespaces()),
            _answer(self._lists.ray_pods()),
            _answer(self._lists.all(_DEPLOYMENTS, _OPERATOR)),
            _answer(self._rbac()),
        )
        ray_objects = {kind: await _answer(self._ray_objects(kind)) for kind in RAY_KINDS}
        configurations = await self._configurations(known_deployed)
        chosen = dry_run_in or _chosen(
            (*ray_objects.values(), ray_pods), namespaces, configurations[VALIDATING]
        )
        return CheckFacts(
            namespace=self._namespace,
            now=self._now(),
            version=__version__,
            server=server,
            deployed=deployed,
            services=await self._services(known_deployed),
            policy=await _answer(self._policy(known_deployed)),
            rights=await _answer(self._rights(known_deployed)),
            configurations=configurations,
            seed=seed,
            namespaces=namespaces,
            ray_kinds=kinds,
            ray_objects=ray_objects,
            ray_pods=ray_pods,
            operators=operators,
            rbac=rbac,
            dry_run_namespace=chosen,
            dry_runs=await self._dry_runs(chosen),
        )

    async def _server(self) -> Object | Unavailable:
        try:
            return await self._api.at("/version")
        except ForbiddenError as error:
            return _not_allowed(error)

    async def _deployed(self) -> Deployed | None:
        document = await self._api.get(_DEPLOYMENTS, self._namespace, DEPLOYMENT)
        if document is None:
            return None
        shared: dict[str, str] = {}
        for prefix, name in shared_settings(document):
            found = await self._api.get(_CONFIG_MAPS, self._namespace, name)
            values = as_dict((found or {}).get("data"))
            shared |= {f"{prefix}{key}": as_str(value) for key, value in values.items()}
        return Deployed.of(document, shared)

    async def _services(
        self, deployed: Deployed | None
    ) -> Mapping[str, Object | Unavailable | None]:
        names = (deployed.admission_service if deployed else DEPLOYMENT, f"{DEPLOYMENT}-enroll")
        return {
            name: await _answer(self._api.get(SERVICES, self._namespace, name)) for name in names
        }

    async def _configurations(
        self, deployed: Deployed | None
    ) -> Mapping[str, Object | Unavailable | None]:
        # Where their caBundle is not ours to write, they still have their name.
        name = (deployed.configuration if deployed else "") or DEPLOYMENT
        answers = [await _answer(self._api.get(resource, "", name)) for resource in CONFIGURATIONS]
        return dict(zip((MUTATING, VALIDATING), answers, strict=True))

    async def _policy(self, deployed: Deployed | None) -> PolicyText | Unavailable | None:
        if deployed is None or not deployed.policy_file:
            return None
        source = deployed.policy_source
        if source is None:
            why = f"{deployed.policy_file} is mounted from no ConfigMap"
            return Unavailable(
                why, "look at it where it comes from: raywarden review --policy FILE reads it"
            )
        title = f"configmap/{source.config_map}/{source.key}"
        found = await self._api.get(_CONFIG_MAPS, self._namespace, source.config_map)
        content = as_dict((found or {}).get("data")).get(source.key)
        return PolicyText(title, content.encode() if isinstance(content, str) else None)

    async def _rights(self, deployed: Deployed | None) -> Mapping[str, bool] | None:
        if deployed is None:
            return None
        wanted = list(permissions(deployed.configuration, own_seed=not deployed.own_seed))
        limit, account = asyncio.Semaphore(_AT_ONCE), deployed.service_account

        async def allowed(right: Permission) -> bool:
            async with limit:
                answer = await self._api.review(
                    _ACCESS_REVIEWS, _access_review(right, self._namespace, account)
                )
            return as_dict(answer.get("status")).get("allowed") is True

        # The first alone: whoever may not ask is told so once.
        first = await allowed(wanted[0])
        answers = [first, *await asyncio.gather(*map(allowed, wanted[1:]))]
        inside = f" in namespace {self._namespace}"
        return {
            f"{right}{inside * right.ours}": answer
            for right, answer in zip(wanted, answers, strict=True)
        }

    async def _ray_kinds(self) -> frozenset[str]:
        try:
            document = await self._api.at("/apis/ray.io/v1")
        except NotFoundError:
            return frozenset()
        return frozenset(
            as_str(one.get("name")) for _, one in dict_items(document.get("resources"))
        )

    async def _ray_objects(self, plural: str) -> Objects:
        try:
            return await self._lists.all(Resource(RAY_CLUSTERS.group, RAY_CLUSTERS.version, plural))
        except NotFoundError:
            return ()

    async def _rbac(self) -> RbacGrants:
        roles, bindings = await asyncio.gather(self._lists.all(ROLES), self._lists.all(BINDINGS))
        by_name = {
            as_str(as_dict(role.get("metadata")).get("name")): RbacRole.of(role) for role in roles
        }
        return RbacGrants.of(by_name, map(RbacBinding.of, bindings))

    async def _dry_runs(self, namespace: str) -> Mapping[str, DryRunAnswer | Unavailable]:
        return {
            VALIDATING: await _answer(self._dry_run(PODS, namespace, FORGED_POD)),
            MUTATING: await _answer(self._dry_run(RAY_CLUSTERS, namespace, BARE_CLUSTER)),
        }

    async def _dry_run(
        self, resource: Resource, namespace: str, document: Object
    ) -> DryRunAnswer | Unavailable:
        try:
            answer = await self._api.dry_run(resource, namespace, document)
        except RefusedError as error:
            return DryRunAnswer(said=error.said or str(error))
        except NotFoundError:
            why = f"there is no namespace {namespace}, or no {resource}"
            return Unavailable(
                why,
                "name a namespace there is with --namespace; without KubeRay there is no RayCluster",
            )
        return DryRunAnswer(answer.document, warnings=answer.warnings)


async def _answer(asked: Awaitable[T]) -> T | Unavailable:
    try:
        return await asked
    except ForbiddenError as error:
        return _not_allowed(error)
    except (UnavailableError, ConflictError) as error:
        return Unavailable(
            str(error), "try again; kubectl get --raw /readyz?verbose says how the API server is"
        )


def _not_allowed(error: ForbiddenError) -> Unavailable:
    remediation = f"have an administrator grant you that ({can_i(error.right)}), or ask as one"
    return Unavailable(f"you may not {error.right}", remediation)


def _access_review(right: Permission, namespace: str, account: str) -> Mapping[str, Any]:
    attributes = {
        "verb": right.verb,
        "group": right.resource.group,
        "version": right.resource.version,
        "resource": right.resource.plural,
        "namespace": namespace if right.ours else "",
        "name": right.name,
    }
    service_accounts = "system:serviceaccounts"
    spec = {
        "user": f"system:serviceaccount:{namespace}:{account}",
        "groups": [service_accounts, f"{service_accounts}:{namespace}", "system:authenticated"],
        "resourceAttributes": attributes,
    }
    return {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}


def _chosen(
    listed: Iterable[Objects | Unavailable],
    namespaces: Objects | Unavailable,
    configuration: Object | Unavailable | None,
) -> str:
    """Where to rehearse: the first namespace with Ray in it that a webhook of ours is called for, or `default`."""
    holding = ray_namespaces(listed)
    if isinstance(configuration, dict):
        labels = labels_by_namespace(namespaces)
        names = names_of(configuration)
        holding = [
            name for name in holding if passing_by(configuration, labels.get(name, {})) != names
        ] or holding
    return next(iter(holding), "default")
