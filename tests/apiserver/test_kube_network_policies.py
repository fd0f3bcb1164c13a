"""The writer of NetworkPolicies and the Lease, with the rights that `deploy/base` grants."""

from typing import Any
from uuid import uuid4

import pytest

from policies.network.managed import StoredNetworkPolicy
from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.network_policies import items, policies_in
from tests.apiserver.permissions import CLUSTER_RULES, OWN_RULES, as_raywarden, grant, granted
from webhook.kube.api import KubeApi
from webhook.kube.policy_writer import KubeLeases, KubePolicyWriter
from webhook.ports import ConflictError, NotWrittenError

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

TIME = "2026-11-21T12:00:00.000000Z"


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> str:
    name = f"writer-{uuid4().hex[:8]}"
    control_plane.make("/api/v1/namespaces", {"metadata": {"name": name}})
    account = {"metadata": {"name": "raywarden"}}
    control_plane.make(f"/api/v1/namespaces/{name}/serviceaccounts", account)
    grant(control_plane, name, CLUSTER_RULES, OWN_RULES)
    return name


def policy(namespace: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "raywarden-pods-x", "namespace": namespace}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    return {**kind, "metadata": metadata, "spec": {"podSelector": {}, **spec}}


def test_a_policy_is_applied_and_deleted_only_as_it_was_read(
    control_plane: ControlPlane, namespace: str
) -> None:
    async def conversation(api: KubeApi) -> None:
        writer = KubePolicyWriter(api)
        await granted(lambda: writer.apply(policy(namespace)))
        version = await writer.apply(policy(namespace))
        assert await writer.apply(policy(namespace)) == version, "nothing has changed"
        stored = items(control_plane, policies_in(namespace))[0]
        view = StoredNetworkPolicy.of(stored)
        assert view.version == version
        await writer.apply(policy(namespace, policyTypes=["Ingress", "Egress"]))
        with pytest.raises(NotWrittenError) as raised:
            await writer.delete(view)
        assert raised.value.reason == "conflict"
        view = StoredNetworkPolicy.of(items(control_plane, policies_in(namespace))[0])
        await writer.delete(view)
        await writer.delete(view)
        with pytest.raises(NotWrittenError) as raised:
            await writer.apply(policy(namespace, policyTypes=["Sideways"]))
        assert raised.value.reason == "refused"

    as_raywarden(control_plane, namespace, conversation)


def test_an_event_is_stored_and_counted_again(control_plane: ControlPlane, namespace: str) -> None:
    regarding = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "x", "uid": "u"}
    event = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "x.1", "namespace": namespace},
        "eventTime": TIME,
        "reportingController": "raywarden.io/network-policies",
        "reportingInstance": "me",
        "action": "WriteNetworkPolicies",
        "reason": "NetworkPoliciesNotWritten",
        "type": "Warning",
        "regarding": {**regarding, "namespace": namespace},
        "note": "why",
    }

    async def conversation(api: KubeApi) -> None:
        writer = KubePolicyWriter(api)
        await granted(lambda: writer.record(event))
        for count in (2, 3):
            series = {"count": count, "lastObservedTime": TIME}
            await writer.record({**event, "series": series})

    as_raywarden(control_plane, namespace, conversation)
    (stored,) = items(control_plane, f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    assert stored["series"]["count"] == 3


def test_the_lease_is_written_only_as_it_was_read(
    control_plane: ControlPlane, namespace: str
) -> None:
    spec = {"holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": TIME}

    async def conversation(api: KubeApi) -> None:
        leases = KubeLeases(api, namespace)
        await granted(leases.load)
        assert await leases.load() is None
        await granted(lambda: leases.create(spec))
        with pytest.raises(ConflictError):
            await leases.create(spec)
        lease = await leases.load()
        assert lease and lease["spec"] == spec
        await leases.replace(lease, {**spec, "holderIdentity": ""})
        with pytest.raises(ConflictError):
            await leases.replace(lease, spec)

    as_raywarden(control_plane, namespace, conversation)
