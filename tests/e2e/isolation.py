"""The NetworkPolicies of a cluster, and pods that stand for those who do and do not use it."""

from collections.abc import Mapping

from policies.network.infrastructure import Infrastructure
from policies.network.isolation import ClusterIsolation
from policies.network.ray_traffic import ClusterTraffic
from policies.network.written import Members, PolicyNames, policies_for
from policies.ray.workload import Workload
from tests.e2e.api import ENROLLMENT_PORT, Api
from tests.e2e.captured import ACCOUNT, NAMESPACE
from tests.e2e.kubelet import Kubelet, RunningPod
from tests.e2e.network import API_SERVER_ADDRESS
from tests.support.factory import IMAGE, Object

OPERATORS = "kuberay-system"


def close(api: Api, cluster: Object, isolation: ClusterIsolation) -> None:
    """Store the NetworkPolicies that RayWarden writes for a cluster."""
    name = cluster["metadata"]["name"]
    signer = (api.signer_namespace, ENROLLMENT_PORT)
    api_server = [(API_SERVER_ADDRESS, 443)] if api.port else []
    policies = policies_for(
        ClusterTraffic.of(Workload("RayCluster", cluster)),
        isolation,
        Infrastructure([OPERATORS], signer, api_server),
        PolicyNames.of(name),
        Members.of(name),
    )
    api.write_policies(
        [
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": {"name": policy.name, "namespace": policy.namespace},
                "spec": policy.spec,
            }
            for policy in policies
        ]
    )


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
