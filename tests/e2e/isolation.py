"""The NetworkPolicies of a cluster, and pods that stand for those who do and do not use it."""

from collections.abc import Iterator, Mapping

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from tests.apiserver.installation import until
from tests.e2e.api import ENROLLMENT_PORT, Api
from tests.e2e.captured import ACCOUNT, NAMESPACE
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.support.factory import IMAGE, Object

OPERATORS = "kuberay-system"


def close(api: Api, cluster: Object, isolation: ClusterIsolation) -> None:
    """Wait until RayWarden has written the NetworkPolicies of a cluster.

    A double of the API server has no writer, so it gets what RayWarden would write.
    """
    names = PolicyNames.of(cluster["metadata"]["name"])
    if not api.port:
        api.write_policies(list(_written(api, cluster, isolation, names)))
    wanted = {names.pods, names.head}
    until(lambda: wanted <= {each["metadata"]["name"] for each in api.network_policies()})


def _written(
    api: Api, cluster: Object, isolation: ClusterIsolation, names: PolicyNames
) -> Iterator[Object]:
    policies = policies_for(
        ClusterTraffic.of(Workload("RayCluster", cluster)),
        isolation,
        Infrastructure([OPERATORS], (api.signer_namespace, ENROLLMENT_PORT)),
        names,
        Members.of(cluster["metadata"]["name"]),
    )
    for policy in policies:
        metadata = {"name": policy.name, "namespace": policy.namespace}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
        yield {**kind, "metadata": metadata, "spec": policy.spec}


def bare_pod(kubelet: Kubelet, name: str, namespace: str = NAMESPACE, **labels: str) -> RunningPod:
    """A pod without a running container: an address in the network, and labels."""
    return kubelet.prepare(pod_with(name, namespace, labels), next(kubelet.api.free_addresses()))


def pod_with(name: str, namespace: str, labels: Mapping[str, str], *environment: Object) -> Object:
    """A pod of somebody else, with Ray's programs."""
    container = {"name": "shell", "image": IMAGE, "env": list(environment)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
        "spec": {
            "serviceAccountName": ACCOUNT,
            "containers": [{**container, "command": ["sleep", "infinity"]}],
        },
    }


def labels_of_head(cluster: str) -> Mapping[str, str]:
    return {"ray.io/cluster": cluster, "ray.io/node-type": "head"}


def labels_of_job(name: str) -> Mapping[str, str]:
    return {"ray.io/originated-from-crd": "RayJob", "ray.io/originated-from-cr-name": name}
