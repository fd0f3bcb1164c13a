"""Collects the facts for `raywarden check` with the caller's permissions; changes nothing."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypedDict

from policies.cluster.rbac import RbacBinding, RbacGrants, operators_of_namespaces
from policies.cluster.roles import RbacRole
from policies.documents.metadata import name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items
from webhook import __version__
from webhook.check.access_reviews import TokenReviewer, server_permissions, token_reviewers
from webhook.check.answers import answer_of, forbidden
from webhook.check.collect_network import network_facts, pod_with
from webhook.check.coverage import ray_namespaces
from webhook.check.deployment import (
    DEPLOYMENT,
    ServerDeployment,
    StoredPolicy,
    settings_sources,
)
from webhook.check.dry_run import BARE_CLUSTER, FORGED_POD
from webhook.check.facts import (
    MUTATING,
    RAY_KINDS,
    VALIDATING,
    CheckFacts,
    DryRunAnswer,
    Object,
    Objects,
    Unavailable,
)
from webhook.check.registration import labels_by_namespace, names_of, webhooks_that_skip
from webhook.kube.adapters import CONFIGURATIONS, KubeObjectLists, KubeSeedStore
from webhook.kube.api import KubeApi
from webhook.kube.memory import (
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    RAY_CLUSTERS,
    ROLE_BINDINGS,
    ROLES,
    SERVICES,
)
from webhook.kube.pods import PODS
from webhook.kube.request import ForbiddenError, NotFoundError, RefusedError, Resource
from webhook.network_policy.live import ClusterReader
from webhook.ports import StoredSeed, UnavailableError

_CONFIG_MAPS = Resource("", "v1", "configmaps")
_DEPLOYMENTS = Resource("apps", "v1", "deployments")
_OPERATOR = "app.kubernetes.io/name in (kuberay, kuberay-operator)"


class _Objects(TypedDict):
    """The facts that depend on no other fact."""

    seed: StoredSeed | Unavailable | None
    namespaces: Objects | Unavailable
    ray_kinds: frozenset[str] | Unavailable
    ray_pods: Objects | Unavailable
    operators: Objects | Unavailable
    kuberay_accounts: Mapping[str, frozenset[str]] | Unavailable


class Inspection:
    """Reads an installation over the caller's connection; `namespace` is the server's own."""

    def __init__(self, api: KubeApi, namespace: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._lists = KubeObjectLists(api)
        self._namespace = namespace
        self._now = now

    async def facts(self, dry_run_in: str = "") -> CheckFacts:
        """Everything there is to check.

        The dry runs use the namespace `dry_run_in`, or else one that contains Ray. An answer that
        is missing is `Unavailable` in the facts. Raises UnavailableError if there is no API server.
        """
        server_version = await self._server_version()
        answer = await answer_of(self._deployment())
        deployment = answer if isinstance(answer, ServerDeployment) else None
        objects = await self._objects()
        ray_objects = {kind: await answer_of(self._ray_objects(kind)) for kind in RAY_KINDS}
        configurations = await self._configurations(deployment)
        dry_run_namespace = dry_run_in or _dry_run_namespace(
            (*ray_objects.values(), objects["ray_pods"]),
            objects["namespaces"],
            configurations[VALIDATING],
        )
        return CheckFacts(
            namespace=self._namespace,
            now=self._now(),
            own_version=__version__,
            server_version=server_version,
            deployment=answer,
            services=await self._services(deployment),
            policy=await answer_of(self._policy(deployment)),
            permissions=await answer_of(self._permissions(deployment)),
            configurations=configurations,
            ray_objects=ray_objects,
            token_reviewers=await self._token_reviewers(ray_objects["rayclusters"]),
            dry_run_namespace=dry_run_namespace,
            dry_runs=await self._dry_runs(dry_run_namespace),
            network=await network_facts(self._api, self._lists),
            **objects,
        )

    async def pod_at(self, address: str) -> Object | Unavailable | None:
        """The pod that alone has this address; None if there is none, as on a node's network."""
        return await answer_of(pod_with(self._lists, address))

    @property
    def live(self) -> ClusterReader:
        """The cluster as the commands about network isolation read it."""
        return ClusterReader(self._api)

    async def installed_policy(self) -> StoredPolicy | Unavailable | None:
        """The server's policy file; None if it has the default policy.

        Raises NotFoundError if the server is not installed, and UnavailableError if it writes no
        NetworkPolicies.
        """
        answer = await answer_of(self._deployment())
        if answer is None:
            raise NotFoundError(f"there is no Deployment {DEPLOYMENT} in {self._namespace}")
        if isinstance(answer, Unavailable):
            return answer
        if not answer.writes_network_policies:
            raise UnavailableError(
                "this RayWarden writes no NetworkPolicies (component own-network-policies): print "
                "them with raywarden network-policy NAMESPACE/NAME, and apply them"
            )
        return await answer_of(self._policy(answer))

    async def installed(
        self,
    ) -> tuple[ServerDeployment | Unavailable | None, StoredPolicy | Unavailable | None]:
        """The server, and its policy file; None for what does not exist."""
        answer = await answer_of(self._deployment())
        if not isinstance(answer, ServerDeployment):
            return answer, None
        return answer, await answer_of(self._policy(answer))

    async def _objects(self) -> _Objects:
        ray_kinds, seed, namespaces, ray_pods, operators, accounts = await asyncio.gather(
            answer_of(self._ray_kinds()),
            answer_of(KubeSeedStore(self._api, self._namespace).load()),
            answer_of(self._lists.namespaces()),
            answer_of(self._lists.ray_pods()),
            answer_of(self._lists.list_all(_DEPLOYMENTS, _OPERATOR)),
            answer_of(self._kuberay_accounts()),
        )
        return {
            "ray_kinds": ray_kinds,
            "seed": seed,
            "namespaces": namespaces,
            "ray_pods": ray_pods,
            "operators": operators,
            "kuberay_accounts": accounts,
        }

    async def _server_version(self) -> Object | Unavailable:
        # Not `answer_of`: without an API server there is nothing to check, so other errors end it.
        try:
            return await self._api.get_path("/version")
        except ForbiddenError as error:
            return forbidden(error)

    async def _deployment(self) -> ServerDeployment | None:
        document = await self._api.get(_DEPLOYMENTS, self._namespace, DEPLOYMENT)
        if document is None:
            return None
        shared: dict[str, str] = {}
        for prefix, name in settings_sources(document):
            config_map = await self._api.get(_CONFIG_MAPS, self._namespace, name)
            for key, value in as_dict((config_map or {}).get("data")).items():
                shared[f"{prefix}{key}"] = as_str(value)
        return ServerDeployment.of(document, shared)

    async def _services(
        self, deployment: ServerDeployment | None
    ) -> Mapping[str, Object | Unavailable | None]:
        admission = deployment.admission_service if deployment else DEPLOYMENT
        return {
            name: await answer_of(self._api.get(SERVICES, self._namespace, name))
            for name in (admission, f"{DEPLOYMENT}-enroll")
        }

    async def _configurations(
        self, deployment: ServerDeployment | None
    ) -> Mapping[str, Object | Unavailable | None]:
        # The setting is empty if the server writes no caBundle; they have the default name then.
        name = (deployment.configuration if deployment else "") or DEPLOYMENT
        answers = [
            await answer_of(self._api.get(resource, "", name)) for resource in CONFIGURATIONS
        ]
        return dict(zip((MUTATING, VALIDATING), answers, strict=True))

    async def _policy(
        self, deployment: ServerDeployment | None
    ) -> StoredPolicy | Unavailable | None:
        if deployment is None or not deployment.policy_file:
            return None
        source = deployment.policy_source
        if source is None:
            return Unavailable(
                f"{deployment.policy_file} is not mounted from a ConfigMap",
                "check the file where it comes from with raywarden review --policy FILE",
            )
        config_map = await self._api.get(_CONFIG_MAPS, self._namespace, source.config_map)
        content = as_dict((config_map or {}).get("data")).get(source.key)
        return StoredPolicy(
            f"configmap/{source.config_map}/{source.key}",
            content.encode() if isinstance(content, str) else None,
        )

    async def _permissions(self, deployment: ServerDeployment | None) -> Mapping[str, bool] | None:
        if deployment is None:
            return None
        return await server_permissions(self._api, self._namespace, deployment)

    async def _ray_kinds(self) -> frozenset[str]:
        try:
            document = await self._api.get_path("/apis/ray.io/v1")
        except NotFoundError:
            return frozenset()
        resources = dict_items(document.get("resources"))
        return frozenset(as_str(resource.get("name")) for _, resource in resources)

    async def _ray_objects(self, plural: str) -> Objects:
        try:
            return await self._lists.list_all(
                Resource(RAY_CLUSTERS.group, RAY_CLUSTERS.version, plural)
            )
        except NotFoundError:
            return ()

    async def _token_reviewers(
        self, ray_clusters: Objects | Unavailable
    ) -> Sequence[TokenReviewer] | Unavailable:
        if isinstance(ray_clusters, Unavailable):
            return ()
        return await answer_of(token_reviewers(self._api, ray_clusters))

    async def _kuberay_accounts(self) -> Mapping[str, frozenset[str]]:
        cluster_roles, cluster_bindings, roles, bindings = await asyncio.gather(
            self._lists.list_all(CLUSTER_ROLES),
            self._lists.list_all(CLUSTER_ROLE_BINDINGS),
            self._lists.list_all(ROLES),
            self._lists.list_all(ROLE_BINDINGS),
        )
        by_name = {name_of(role): RbacRole.of(role) for role in cluster_roles}
        grants = RbacGrants.of(by_name, map(RbacBinding.of, cluster_bindings))
        for role in roles:
            by_name[f"{namespace_of(role)}/{name_of(role)}"] = RbacRole.of(role)
        accounts = operators_of_namespaces(by_name, map(RbacBinding.of_accounts, bindings))
        # Rights in all namespaces include those in single ones.
        return {
            **{user: frozenset(namespaces) for user, namespaces in accounts.items()},
            **dict.fromkeys(grants.operators, frozenset()),
        }

    async def _dry_runs(self, namespace: str) -> Mapping[str, DryRunAnswer | Unavailable]:
        return {
            VALIDATING: await answer_of(self._dry_run(PODS, namespace, FORGED_POD)),
            MUTATING: await answer_of(self._dry_run(RAY_CLUSTERS, namespace, BARE_CLUSTER)),
        }

    async def _dry_run(
        self, resource: Resource, namespace: str, document: Object
    ) -> DryRunAnswer | Unavailable:
        try:
            answer = await self._api.dry_run(resource, namespace, document)
        except RefusedError as error:
            return DryRunAnswer(rejection=error.reason or str(error))
        except NotFoundError:
            return Unavailable(
                f"there is no namespace {namespace}, or no {resource}",
                "choose an existing namespace with --namespace; RayClusters need KubeRay",
            )
        return DryRunAnswer(answer.document, warnings=answer.warnings)


def _dry_run_namespace(
    lists: Iterable[Objects | Unavailable],
    namespaces: Objects | Unavailable,
    configuration: Object | Unavailable | None,
) -> str:
    """The first namespace with Ray for which a webhook is called, or any with Ray, or `default`."""
    candidates = ray_namespaces(lists)
    if isinstance(configuration, dict):
        labels = labels_by_namespace(namespaces)
        all_webhooks = names_of(configuration)
        for namespace in candidates:
            if webhooks_that_skip(configuration, labels.get(namespace, {})) != all_webhooks:
                return namespace
    return candidates[0] if candidates else "default"
