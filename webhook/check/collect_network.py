"""Collects what decides which traffic reaches Ray: policies, the network, and the API server."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.documents.untyped import as_dict, as_str, dict_items
from webhook.check.answers import answer_of
from webhook.check.facts import NetworkFacts, Object, Objects, Unavailable
from webhook.kube.adapters import KubeObjectLists
from webhook.kube.api import KubeApi
from webhook.kube.memory import ENDPOINT_SLICES, NETWORK_POLICIES, SERVICES
from webhook.kube.objects import addresses_of
from webhook.kube.pods import PODS
from webhook.kube.request import NotFoundError, Resource

_DAEMON_SETS = Resource("apps", "v1", "daemonsets")
_POLICY_API = "policy.networking.k8s.io"
# Policies that let through or close traffic beside NetworkPolicies.
_OTHER_POLICIES = (
    Resource("cilium.io", "v2", "ciliumnetworkpolicies"),
    Resource("cilium.io", "v2", "ciliumclusterwidenetworkpolicies"),
    Resource("crd.projectcalico.org", "v1", "networkpolicies"),
    Resource("crd.projectcalico.org", "v1", "globalnetworkpolicies"),
    Resource("projectcalico.org", "v3", "networkpolicies"),
    Resource("projectcalico.org", "v3", "globalnetworkpolicies"),
    Resource("crd.antrea.io", "v1beta1", "networkpolicies"),
    Resource("crd.antrea.io", "v1beta1", "clusternetworkpolicies"),
    Resource(_POLICY_API, "v1alpha1", "adminnetworkpolicies"),
    Resource(_POLICY_API, "v1alpha1", "baselineadminnetworkpolicies"),
    Resource(_POLICY_API, "v1alpha2", "clusternetworkpolicies"),
)


async def network_facts(api: KubeApi, lists: KubeObjectLists) -> NetworkFacts:
    """The facts about the network, as far as the caller may read them."""
    policies, daemon_sets, groups, service, endpoints = await asyncio.gather(
        answer_of(lists.list_all(NETWORK_POLICIES)),
        answer_of(lists.list_all(_DAEMON_SETS)),
        answer_of(api.get_path("/apis")),
        answer_of(api.get(SERVICES, "default", "kubernetes")),
        answer_of(api.get(ENDPOINT_SLICES, "default", "kubernetes")),
    )
    # RBAC refuses a resource that does not exist, too, so ask first which groups there are.
    served = set(_versions(groups)) if isinstance(groups, dict) else set()
    others: dict[str, Objects | Unavailable] = {}
    if isinstance(groups, Unavailable):
        others["other kinds of policies"] = groups
    for resource in _OTHER_POLICIES:
        if (resource.group, resource.version) in served:
            others[str(resource)] = await answer_of(_listed(lists, resource))
    return NetworkFacts(policies, others, daemon_sets, _api_server(service, endpoints))


async def pod_with(lists: KubeObjectLists, address: str) -> Object | None:
    """The pod that alone has this address; pods on a node's own network share the node's."""
    pods = await lists.list_all(PODS, fields=f"status.podIP={address}")
    found = [pod for pod in pods if as_dict(pod.get("status")).get("podIP") == address]
    hosted = any(as_dict(pod.get("spec")).get("hostNetwork") is True for pod in found)
    # A pod that has ended keeps its address, which another pod can have by now.
    alive = [pod for pod in found if as_dict(pod.get("status")).get("phase") == "Running"]
    return alive[0] if len(alive) == 1 and not hosted else None


def _versions(groups: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for _, group in dict_items(groups.get("groups")):
        for _, version in dict_items(group.get("versions")):
            yield as_str(group.get("name")), as_str(version.get("version"))


async def _listed(lists: KubeObjectLists, resource: Resource) -> Objects:
    try:
        return await lists.list_all(resource)
    except NotFoundError:
        return ()


def _api_server(
    service: Object | Unavailable | None, endpoints: Object | Unavailable | None
) -> Sequence[tuple[str, int]] | Unavailable:
    """The addresses and ports of the Service `kubernetes`, and those behind it."""
    for answer in (service, endpoints):
        if isinstance(answer, Unavailable):
            return answer
    spec = as_dict(as_dict(service).get("spec"))
    addresses = [(as_str(spec.get("clusterIP")), port) for port in _ports(spec)]
    addresses += addresses_of(as_dict(endpoints))
    return sorted((address, port) for address, port in addresses if address)


def _ports(service_spec: Mapping[str, Any]) -> list[int]:
    ports = [entry.get("port") for _, entry in dict_items(service_spec.get("ports"))]
    return [port for port in ports if isinstance(port, int)]
