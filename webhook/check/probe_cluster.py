"""The Ray cluster that a probe dials: its pods, its ports and its seed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from certs.identity import Cluster
from certs.seed import Seed, SeedError
from policies.documents.metadata import annotations_of, labels_of, name_of, namespace_of
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.injection.contract import SECRET_ANNOTATION, TlsBy, own_secret, tls_by
from policies.network.ray_ports import FIXED_PORTS
from policies.ray.auth import LOOPBACK
from policies.ray.membership import (
    NODE_TYPE_LABEL,
    OPT_IN_CLUSTER_LABEL,
    OPT_IN_ROLE_LABEL,
    RAY_CLUSTER_LABEL,
)
from policies.ray.pod import PodRole
from policies.ray.ray_start import commands_in, ray_starts
from policies.ray.workload import Workload
from webhook.check.facts import CheckFacts, Object, Unavailable, or_empty
from webhook.kube.objects import opted_in_cluster_of, pod_of, ray_cluster_of
from webhook.ports import StoredSeed
from webhook.settings import SetupError

GCS, CLIENT, DASHBOARD, AGENT = FIXED_PORTS
_MAX_PORT = 65535
# Longer texts are not ports, and Python refuses to read numbers of thousands of digits.
_MAX_DIGITS = 5
_DASHBOARD_HOST = re.compile(r"""--dashboard-host[=\s]\s*["']?([^\s"']*)""")


@dataclass(frozen=True, slots=True)
class ProbedCluster:
    """A cluster's running pods and its RayCluster; `workload` is None for Ray without KubeRay.

    `closed` are the ports that the network was found to close for the probe, as `POD:PORT`.
    """

    cluster: Cluster
    workload: Workload | None
    pods: Sequence[Object]
    closed: frozenset[str] = frozenset()

    def with_role(self, role: PodRole) -> list[Object]:
        label = NODE_TYPE_LABEL if self.workload else OPT_IN_ROLE_LABEL
        return [pod for pod in self.pods if labels_of(pod).get(label) == role]

    def port(self, parameter: str, role: PodRole) -> int:
        """The port of the first group with this role that sets the parameter, or Ray's default."""
        groups = self.workload.cluster.groups if self.workload and self.workload.cluster else ()
        for group in groups:
            if group.role is not role:
                continue
            text = str(group.start_params.get(parameter, ""))
            if len(text) > _MAX_DIGITS or not (text.isascii() and text.isdecimal()):
                continue
            if 0 < int(text) <= _MAX_PORT:
                return int(text)
        return FIXED_PORTS[parameter]

    def closes(self, pod: Object, number: int) -> bool:
        """Whether the network closes a port of a pod for the probe."""
        return f"{name_of(pod)}:{number}" in self.closed

    def own_ports(self, pod: Object) -> list[int]:
        """The ports of a pod through which code runs, as far as they are fixed."""
        if pod in self.with_role(PodRole.HEAD):
            return [self.port(parameter, PodRole.HEAD) for parameter in FIXED_PORTS]
        return [self.port(AGENT, PodRole.WORKER)]


def has_loopback_dashboard(pod: Object) -> bool:
    """The pod visibly runs `ray start`, and nothing in it names another host for the dashboard.

    The loopback address is Ray's default. KubeRay and many manifests choose another one.
    """
    texts: list[str] = []
    starts = False
    for _, container in dict_items(as_dict(pod.get("spec")).get("containers")):
        commands = commands_in(container)
        starts = starts or bool(ray_starts(commands, container))
        texts += [" ".join(words) for words in commands.values()]
        texts += [as_str(entry.get("value")) for _, entry in dict_items(container.get("env"))]
    hosts = [host for text in texts for host in _DASHBOARD_HOST.findall(text)]
    return starts and all(host in LOOPBACK for host in hosts)


def find_cluster(facts: CheckFacts, namespace: str, name: str) -> ProbedCluster | Unavailable:
    """The cluster of this name; raises SetupError if it does not exist."""
    for objects in (facts.ray_pods, facts.ray_objects["rayclusters"], facts.namespaces):
        if isinstance(objects, Unavailable):
            return objects
    for document in or_empty(facts.ray_objects["rayclusters"]):
        cluster = ray_cluster_of(document)
        if (cluster.namespace, cluster.name) == (namespace, name):
            pods = _running_pods(facts, namespace, RAY_CLUSTER_LABEL, name)
            return ProbedCluster(cluster, Workload("RayCluster", document), pods)
    pods = _running_pods(facts, namespace, OPT_IN_CLUSTER_LABEL, name)
    for document in or_empty(facts.namespaces):
        cluster = opted_in_cluster_of(document, name)
        if pods and cluster.namespace == namespace:
            return ProbedCluster(cluster, None, pods)
    raise SetupError(
        f"there is no RayCluster {namespace}/{name}, "
        f"and no running pod in {namespace} has the label {OPT_IN_CLUSTER_LABEL}: {name}"
    )


def _running_pods(facts: CheckFacts, namespace: str, label: str, name: str) -> list[Object]:
    """The pods of a cluster that can be dialed: they have an address and have not ended."""
    pods = []
    for document in or_empty(facts.ray_pods):
        if namespace_of(document) != namespace or labels_of(document).get(label) != name:
            continue
        pod = pod_of(document)
        if pod.addresses and not pod.ended:
            pods.append(document)
    return pods


def seed_of(facts: CheckFacts, probed: ProbedCluster) -> Seed | Unavailable:
    """The seed, if it is known here and the cluster's certificates are derived from it."""
    if probed.workload:
        manager = tls_by(probed.workload)
        if manager is not TlsBy.RAYWARDEN:
            return Unavailable(
                f"its certificates are not from RayWarden's CA (TLS by {manager})",
                "recreate the cluster without TLS settings so that RayWarden completes it",
            )
    secret = _own_secret(probed)
    if secret:
        reason = f"it brings its own certificate (Secret {secret})"
        return Unavailable(reason, "look at ca.crt in that Secret")
    if isinstance(facts.seed, Unavailable):
        return facts.seed
    if not isinstance(facts.seed, StoredSeed):
        return Unavailable(
            "the seed is not in a Secret here",
            "run the command with RAYWARDEN_SEED_DIR where the seed is mounted",
        )
    try:
        return Seed.parse(facts.seed.entries)
    except SeedError as error:
        return Unavailable(str(error), "fix the seed first")


def _own_secret(probed: ProbedCluster) -> str:
    """The Secret with the cluster's own certificates; without KubeRay, each pod names one."""
    if probed.workload:
        return own_secret(probed.workload)
    secrets = (as_str(annotations_of(pod).get(SECRET_ANNOTATION)) for pod in probed.pods)
    return next(filter(None, secrets), "")
