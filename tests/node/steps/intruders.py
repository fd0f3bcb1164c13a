"""Pods and objects that try to get in, and must not."""

import json

from tests.node.kubectl import Ended
from tests.node.manifests import adapted, own_namespace, the
from tests.node.ownership import MINE
from tests.node.result import StepError
from tests.node.steps.ray_cluster import PORTS, TrainingCluster
from tests.node.steps.ray_service import idle_pod
from tests.node.trial import Trial, findings
from tests.support.factory import Object
from tests.support.paths import DEPLOY

STRANGER = own_namespace("raywarden-probe")
_TAKES_EFFECT_SECONDS = 20.0
# Prints the ports that accept a connection.
_DIAL = """
import socket, sys
for port in %s:
    client = socket.socket()
    client.settimeout(3)
    if client.connect_ex(("%s", port)) == 0:
        print(port)
"""


class Intruders:
    """What is tried against the training cluster."""

    def __init__(self, trial: Trial, training: TrainingCluster) -> None:
        self.trial, self.training = trial, training

    def run(self) -> str:
        """Strangers dial the head; a pod claims to be a member; a Service makes Ray public."""
        head = self.training.ensure()
        worker = self.training.wait_workers(1)[0]["metadata"]["name"]
        address = head["status"]["podIP"]
        reached = self._open_ports(self.training.namespace, worker, address)
        if 6379 not in reached:
            raise StepError(
                f"not even the worker {worker} reaches {address}:6379",
                f"kubectl -n {self.training.namespace} get networkpolicies -o yaml",
            )
        network = self._dial(address)
        refused = [
            self._refused("operator-made-pods", self._false_member()),
            self._refused("no-public-ray-service", self._public_service()),
        ]
        return f"{network}; refused: {', '.join(refused)}; {self.training.probe(head)}"

    def _dial(self, address: str) -> str:
        image = self.trial.images.ray.name
        metadata = {"name": STRANGER, "labels": dict(MINE)}
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        places = {STRANGER: "stranger", self.training.namespace: "bystander"}
        pods = [idle_pod(name, place, image) for place, name in places.items()]
        self.trial.kubectl.apply(namespace, *pods)
        enforced = self._is_enforced()
        for place, name in places.items():
            self.trial.wait_pods(f"the {name}", place, f"app={name}", 1)
        if not enforced:
            return self._unenforced(address)
        for place, name in places.items():
            self._wait_closed(place, name, address)
        return "the network keeps a stranger and a bystander out of 6379, 8265, 10001 and 52365"

    def _unenforced(self, address: str) -> str:
        reached = self._open_ports(STRANGER, "stranger", address)
        if not reached:
            return "the network keeps a stranger out"
        return (
            f"the network does not enforce NetworkPolicies (a stranger connects to {reached}), so "
            "only certificates and the token protect Ray"
        )

    def _wait_closed(self, place: str, name: str, address: str) -> None:
        def missing() -> str:
            reached = self._open_ports(place, name, address)
            return f"{place}/{name} connects to {reached}" if reached else ""

        self.trial.progress.wait(
            "the NetworkPolicies", _TAKES_EFFECT_SECONDS, missing,
            f"kubectl -n {self.training.namespace} describe networkpolicies",
        )  # fmt: skip

    def _open_ports(self, namespace: str, pod: str, address: str) -> list[int]:
        script = _DIAL % (list(PORTS), address)
        return [int(port) for port in self.trial.python(namespace, pod, script).split()]

    def _is_enforced(self) -> bool:
        """What the product's probe says that runs in a pod of its own, as documented."""
        objects = adapted(DEPLOY / "probe.yaml", self.trial.images.ray)
        pod = the(objects, "Pod")
        (container,) = pod["spec"]["containers"]
        cluster = f"{self.training.namespace}/{self.training.name}"
        container.update(image=self.trial.images.server)
        container["args"] = ["check", "--probe", cluster, "--output", "json"]
        pod["metadata"]["name"] = "probe"
        for document in objects:
            if document["kind"].startswith("ClusterRole"):
                document["metadata"].update(name=STRANGER, labels=dict(MINE))
            if document["kind"] == "ClusterRoleBinding":
                document["roleRef"]["name"] = document["subjects"][0]["namespace"] = STRANGER
        self.trial.kubectl.apply(*objects)

        def missing() -> str:
            self.trial.refuse_stuck(STRANGER, self.trial.pods(STRANGER, ""))
            phase = self.trial.kubectl.get("pod", "probe", STRANGER)["status"].get("phase", "")
            return "" if phase in ("Succeeded", "Failed") else str(phase)

        next_step = f"kubectl -n {STRANGER} logs probe"
        self.trial.progress.wait("the probe in a pod", 120.0, missing, next_step)
        said = self.trial.kubectl.must("logs", "probe", f"--namespace={STRANGER}")
        return enforcement(said, next_step)

    def _refused(self, rule: str, document: Object) -> str:
        """The API server must refuse this object, and name the rule."""
        ended = self._try(document)
        if ended.code == 0 or f"{rule}:" not in ended.errors:
            said = ended.errors.strip() or "the API server accepts it"
            name = document["metadata"]["name"]
            raise StepError(
                f"{rule} does not refuse the {document['kind']} {name}: {said}",
                "raywarden check; kubectl get validatingwebhookconfiguration raywarden -o yaml",
            )
        return rule

    def _try(self, document: Object) -> Ended:
        create = ["create", "--dry-run=server", "--filename=-"]
        return self.trial.kubectl.attempt(*create, given=json.dumps(document))

    def _false_member(self) -> Object:
        pod = idle_pod("false-member", self.training.namespace, self.trial.images.ray.name)
        pod["metadata"]["labels"] = {
            "ray.io/cluster": self.training.name,
            "ray.io/node-type": "worker",
            "ray.io/is-ray-node": "yes",
        }
        return pod

    def _public_service(self) -> Object:
        selector = {"ray.io/cluster": self.training.name, "ray.io/node-type": "head"}
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "public", "namespace": self.training.namespace},
            "spec": {"type": "LoadBalancer", "selector": selector, "ports": [{"port": 8265}]},
        }


def enforcement(said: str, next_step: str) -> bool:
    """Whether the network keeps the probe's pod out; a failed probe is an error."""
    probed = [entry for title, entry in findings(Ended(0, said, "")) if title.startswith("probe")]
    closed = any("as NetworkPolicies say" in entry["message"] for entry in probed)
    open_ports = [entry["message"] for entry in probed if "do not enforce" in entry["message"]]
    open_ports += [entry["message"] for entry in probed if "does not enforce" in entry["message"]]
    if not (closed or open_ports):
        messages = "; ".join(entry["message"] for entry in probed) or said[-300:]
        raise StepError(f"the probe in a pod cannot tell: {messages}", next_step)
    return closed
