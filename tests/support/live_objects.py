"""Live objects as an API server returns them, and the seed and identities that belong to them."""

from datetime import UTC, datetime
from typing import Any

from certs.identity import TokenIdentity
from certs.seed import Generation, Seed
from tests.support.factory import Object

CREATED = "2026-11-20T08:00:00Z"
NAMESPACE_UID = "11111111-0000-4000-8000-000000000001"
CLUSTER_UID = "22222222-0000-4000-8000-000000000002"
POD_UID = "33333333-0000-4000-8000-000000000003"
START = datetime(2026, 11, 20, 8, tzinfo=UTC)
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def secret(number: int) -> bytes:
    """A secret for a generation; each number gives a different one."""
    return bytes(range(32 * number, 32 * (number + 1)))


GENERATION = Generation(datetime(2026, 11, 1, tzinfo=UTC), secret(0))
NEXT_GENERATION = Generation(datetime(2026, 12, 1, tzinfo=UTC), secret(1))
SEED = Seed((GENERATION,))


def namespace(name: str = "team-a", uid: str = NAMESPACE_UID) -> Object:
    metadata = {"name": name, "uid": uid, "creationTimestamp": CREATED}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def ray_cluster(name: str = "demo", uid: str = CLUSTER_UID, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "team-a", "uid": uid, "creationTimestamp": CREATED}
    return {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": metadata, "spec": spec}


def service(name: str, **selector: str) -> Object:
    metadata = {"name": name, "namespace": "team-a"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"selector": selector},
    }


def pod(
    name: str = "demo-head-abcde",
    role: str = "head",
    address: str = "127.0.0.1",
    uid: str = POD_UID,
    cluster: str = "demo",
    cluster_uid: str = CLUSTER_UID,
) -> Object:
    """A pod that KubeRay created for a RayCluster; it has no address yet if `address` is empty."""
    owner = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": cluster,
        "uid": cluster_uid,
        "controller": True,
    }
    metadata = {
        "name": name,
        "namespace": "team-a",
        "uid": uid,
        "labels": {"ray.io/cluster": cluster, "ray.io/node-type": role},
        "ownerReferences": [owner],
    }
    status: Object = {"phase": "Pending"}
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    spec = {"serviceAccountName": "ray"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status}


def opted_in_pod(
    name: str = "web-0", role: str = "worker", address: str = "127.0.0.1", uid: str = POD_UID
) -> Object:
    """A pod of Ray without KubeRay."""
    labels = {"raywarden.io/cluster": "django", "raywarden.io/role": role}
    document = pod(name, address=address, uid=uid)
    document["metadata"] |= {"labels": labels, "ownerReferences": []}
    return document


def caller(document: Object) -> TokenIdentity:
    """The identity in the token of a pod."""
    metadata = document["metadata"]
    account = document["spec"]["serviceAccountName"]
    return TokenIdentity(metadata["namespace"], account, metadata["name"], metadata["uid"])


def objects() -> list[Object]:
    """A namespace with a RayCluster of a head and two workers, and a cluster without KubeRay."""
    return [
        namespace(),
        ray_cluster(),
        service("demo-head-svc", **{"ray.io/cluster": "demo", "ray.io/node-type": "head"}),
        pod(),
        pod("demo-worker-1", "worker", "127.0.0.2", "33333333-0000-4000-8000-000000000011"),
        pod("demo-worker-2", "worker", "127.0.0.3", "33333333-0000-4000-8000-000000000012"),
        opted_in_pod(uid="33333333-0000-4000-8000-000000000021"),
        opted_in_pod("web-client", "client", uid="33333333-0000-4000-8000-000000000022"),
    ]
