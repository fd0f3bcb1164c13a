"""A double of the API server: `raywarden serve --dev`, which knows all future pods in advance."""

import base64
import secrets
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import httpx
import jsonpatch
import orjson
import yaml

from certs.seed import SEED_BYTES
from policies.ray.workload import WORKLOAD_KINDS
from tests.apiserver.installation import until
from tests.e2e.api import SETTINGS
from tests.e2e.captured import NAMESPACE, head_service, pod_of, ray_cluster_of
from tests.e2e.deployments import documents_of, pods_of
from tests.e2e.network import addresses
from tests.support import factory
from tests.support.factory import Object
from tests.support.live_server import RunningServer, serving

_DEV_CLUSTER = Path("deploy/dev-cluster.yaml")
_NAMESPACES = ("kube-system", "raywarden-system")
_CREATED = "2026-11-20T09:00:00Z"
_GENERATION = "20260101T000000Z"


@dataclass
class Double:
    """Stands for the API server; RayWarden looks up tokens and pods in the same manifests."""

    server: RunningServer
    folder: Path
    free: Iterator[str]
    future: dict[tuple[str, str], list[Object]]
    policies: dict[str, Object] = field(default_factory=dict)
    namespace_names: set[str] = field(default_factory=lambda: {NAMESPACE, *_NAMESPACES})

    @property
    def signer_namespace(self) -> str:
        return "raywarden-system"

    @property
    def root_ca(self) -> str:
        return ""

    @property
    def port(self) -> int:
        return 0

    def make_cluster(self, name: str, changes: Mapping[str, Any]) -> Object:
        cluster = ray_cluster_of(name, changes)
        return self._admit({**cluster, "metadata": {**cluster["metadata"], **_metadata(name)}})

    def make_pod(self, pod: Object) -> Object:
        stored = self.future[_place(pod)].pop(0)
        admitted = self._admit(pod)
        identity = {field: stored["metadata"][field] for field in ("name", "uid")}
        return {
            **admitted,
            "metadata": {**admitted["metadata"], **identity},
            "status": stored["status"],
        }

    def make_objects(self, documents: Sequence[Object]) -> None:
        for document in documents:
            if document["kind"] == "Namespace":
                self.make_namespace(document["metadata"]["name"])
            elif document["kind"] == "NetworkPolicy":
                self.write_policies([document])
            elif document["kind"] in WORKLOAD_KINDS:
                self._admit(document)

    def place(self, pod: Object) -> str:
        address: str = pod["status"]["podIP"]
        return address

    def refusal(self, pod: Object) -> str:
        verdict = self._send("/validate", pod, user="kubernetes-admin")
        return "" if verdict["allowed"] else str(verdict["status"]["message"])

    def replicas(self, cluster: Object) -> int:
        return int(cluster["spec"]["workerGroupSpecs"][0]["replicas"])

    def report_running(self, pod: Object) -> None:
        """Do nothing: nobody asks."""

    def delete_pod(self, pod: Object) -> None:
        """Do nothing: no test uses the pod after this."""

    def make_namespace(self, name: str) -> None:
        self.namespace_names.add(name)

    def namespaces(self) -> Mapping[str, Mapping[str, str]]:
        return {name: {"kubernetes.io/metadata.name": name} for name in self.namespace_names}

    def network_policies(self) -> Sequence[Object]:
        return list(self.policies.values())

    def no_rights_to_write(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def write_policies(self, policies: Sequence[Object]) -> None:
        self.policies |= {policy["metadata"]["name"]: policy for policy in policies}

    def delete_policies(self, policies: Sequence[Object]) -> None:
        for policy in policies:
            del self.policies[policy["metadata"]["name"]]

    def token(self, pod: Object, audience: str) -> str:
        metadata = pod["metadata"]
        return self.server.token(metadata["name"], metadata["namespace"]) if audience else ""

    def adopt_policy(self, policy: Object) -> None:
        before = self._logged("policy loaded")
        (self.folder / "policy.yaml").write_text(yaml.safe_dump(policy))
        until(lambda: len(self._logged("policy loaded")) > len(before))

    def rotate(self) -> None:
        before = self._logged("seed adopted")
        _add_generation(self.folder / "seed", f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
        until(lambda: len(self._logged("seed adopted")) > len(before))

    def free_addresses(self) -> Iterator[str]:
        return self.free

    def _logged(self, event: str) -> list[Object]:
        return [record for record in self.server.log() if record["event"] == event]

    def _admit(self, document: Object) -> Object:
        """Mutate an object with `/mutate` and check it with `/validate`, as the API server does."""
        mutation = self._send("/mutate", document)
        # "W10=" is the empty list in base64.
        operations = orjson.loads(base64.b64decode(mutation.get("patch", "W10=")))
        admitted: Object = jsonpatch.JsonPatch(operations).apply(document)
        verdict = self._send("/validate", admitted)
        assert verdict["allowed"], verdict
        return admitted

    def _send(self, path: str, document: Object, user: str = "") -> Mapping[str, Any]:
        posted = httpx.post(
            f"{self.server.admission}{path}",
            json=factory.review(document, user=user),
            verify=self.server.trust,
            trust_env=False,
        )
        response: Mapping[str, Any] = posted.raise_for_status().json()["response"]
        return response


@contextmanager
def double(
    folder: Path, pod_counts: Mapping[tuple[str, str], int], examples: Sequence[Path]
) -> Iterator[Double]:
    """Run a double; `pod_counts` is the number of pods by cluster and role.

    `examples` are files with Ray clusters without KubeRay.
    """
    free = addresses()
    future = _future(pod_counts, free)
    deployed = [document for example in examples for document in documents_of(example)]
    for pod in pods_of(deployed):
        future[_place(pod)].append(_identified(pod, pod["metadata"]["name"], next(free)))
    (folder / "seed").mkdir()
    _add_generation(folder / "seed", _GENERATION)
    (folder / "policy.yaml").write_text("{}\n")
    files = {"SEED_DIR": folder / "seed", "POLICY_FILE": folder / "policy.yaml"}
    settings = {f"RAYWARDEN_{name}": str(value) for name, value in {**SETTINGS, **files}.items()}
    clusters = {cluster for cluster, _ in pod_counts}
    pods = chain.from_iterable(future.values())
    services = map(head_service, clusters)
    installed = [*_installed_objects(), *_live(deployed)]
    objects = [*installed, *map(_ray_cluster, clusters), *services, *pods]
    with serving(settings, objects) as server:
        yield Double(server, folder, free, future)


def _installed_objects() -> Iterator[Object]:
    """The namespace with its quota, and the rights of KubeRay's operator."""
    for document in yaml.safe_load_all(_DEV_CLUSTER.read_text()):
        if document["kind"] in ("Namespace", "ClusterRole", "ClusterRoleBinding", "ResourceQuota"):
            yield document


def _metadata(name: str) -> Object:
    uid = str(uuid5(NAMESPACE_DNS, f"{name}.{NAMESPACE}"))
    return {"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": _CREATED}


def _ray_cluster(cluster: str) -> Object:
    return {**ray_cluster_of(cluster), "metadata": _metadata(cluster)}


def _future(
    pod_counts: Mapping[tuple[str, str], int], free: Iterator[str]
) -> dict[tuple[str, str], list[Object]]:
    pods: dict[tuple[str, str], list[Object]] = defaultdict(list)
    for (cluster, role), number in pod_counts.items():
        for index in range(number):
            pod = pod_of(_ray_cluster(cluster), role)
            name = f"{pod['metadata'].pop('generateName')}{index:05}"
            pods[cluster, role].append(_identified(pod, name, next(free)))
    return pods


def _identified(pod: Object, name: str, address: str) -> Object:
    """The pod as it will be stored and placed."""
    identity = {"name": name, "uid": str(uuid5(NAMESPACE_DNS, f"{name}.{_place(pod)}"))}
    status = {"podIP": address, "podIPs": [{"ip": address}], "phase": "Pending"}
    return {**pod, "metadata": {**pod["metadata"], **identity}, "status": status}


def _place(pod: Object) -> tuple[str, str]:
    """The cluster and the role of a pod; without KubeRay, the namespace stands for the cluster."""
    labels = pod["metadata"]["labels"]
    if "ray.io/cluster" in labels:
        return labels["ray.io/cluster"], labels["ray.io/node-type"]
    return pod["metadata"]["namespace"], labels["raywarden.io/role"]


def _live(documents: Sequence[Object]) -> Iterator[Object]:
    """The objects that RayWarden's simulated cluster needs to know."""
    for document in documents:
        if document["kind"] == "Namespace":
            created = {"uid": f"uid-of-{document['metadata']['name']}"}
            created["creationTimestamp"] = _CREATED
            yield {**document, "metadata": {**document["metadata"], **created}}
        elif document["kind"] in ("Service", "ResourceQuota", "ServiceAccount", "NetworkPolicy"):
            yield document


def _add_generation(folder: Path, name: str) -> None:
    (folder / name).write_bytes(secrets.token_bytes(SEED_BYTES))
