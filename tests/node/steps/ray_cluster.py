"""A RayCluster as in the hardened example: ready, closed, and scaled by Ray's autoscaler."""

from policies.ray.version import AGENT_AUTH_SINCE, ray_version
from tests.node.installation import Installation, failures
from tests.node.manifests import example, the
from tests.node.result import StepError
from tests.node.trial import READY_SECONDS, Trial, findings, is_ready, state_of
from tests.support.factory import Object

# After this time without a task the autoscaler removes a worker.
_IDLE_SECONDS = 20
_SCALE_SECONDS = 300.0
# What the probe dials on the head.
_AGENT = 52365
PORTS = (6379, 10001, 8265, _AGENT)
_TASK = """
import ray, socket
ray.init(address="auto", logging_level="error", log_to_driver=False)

@ray.remote(num_cpus=1)
def name():
    return socket.gethostname()

print(ray.get(name.remote(), timeout=90))
"""
# Unlike a task, a request stays until it is taken back.
_REQUEST = """
import ray
from ray.autoscaler.sdk import request_resources
ray.init(address="auto", logging_level="error", log_to_driver=False)
request_resources(bundles=[{"CPU": 1}] * %d)
"""
_HEAD, _WORKER = "ray.io/node-type=head", "ray.io/node-type=worker"


class TrainingCluster:
    """The RayCluster that several steps use; the first of them creates it."""

    def __init__(self, trial: Trial, installation: Installation) -> None:
        self.trial, self.installation = trial, installation
        self.objects = example("raycluster", trial.images.ray)
        self.stored = the(self.objects, "RayCluster")
        self.name = str(self.stored["metadata"]["name"])
        self.namespace = str(self.stored["metadata"]["namespace"])
        spec = self.stored["spec"]
        spec["autoscalerOptions"] = {
            "idleTimeoutSeconds": _IDLE_SECONDS,
            "resources": {
                "requests": {"cpu": "50m", "memory": "256Mi"},
                "limits": {"cpu": "500m", "memory": "1Gi"},
            },
        }
        spec["workerGroupSpecs"][0].update(replicas=1, minReplicas=1, maxReplicas=2)

    def ensure(self) -> Object:
        """Create it unless it exists, wait for one worker, and return the head."""
        self.trial.kubectl.apply(*self.objects)
        head = self.head()
        self.wait_workers(1)
        return head

    def head(self) -> Object:
        """The head, once it is ready."""
        (head,) = self.trial.wait_pods("the head", self.namespace, self._of(_HEAD), 1)
        return head

    def wait_workers(self, number: int, seconds: float = READY_SECONDS) -> list[Object]:
        """Wait until exactly so many workers are ready."""
        return self.trial.wait_pods(
            f"{number} workers", self.namespace, self._of(_WORKER), number, seconds
        )

    def wait_replaced(self, name: str) -> None:
        """Wait until another worker is ready; KubeRay and the autoscaler may each create one."""
        labels = self._of(_WORKER)

        def missing() -> str:
            pods = self.trial.pods(self.namespace, labels)
            ready = [pod for pod in pods if is_ready(pod) and pod["metadata"]["name"] != name]
            states = [f"{pod['metadata']['name']}: {state_of(pod)}" for pod in pods]
            return "" if ready else ", ".join(states) or "no pod"

        self.trial.progress.wait(
            "the new worker", READY_SECONDS, missing,
            f"kubectl -n {self.namespace} describe pods -l {labels}",
        )  # fmt: skip

    def run_task(self) -> str:
        """Run a task from the head; it must run on a worker, whose name is returned."""
        head = self.head()["metadata"]["name"]
        ran_on = self.trial.python(self.namespace, head, _TASK).splitlines()[-1]
        workers = self.trial.pods(self.namespace, self._of(_WORKER))
        if ran_on not in [worker["metadata"]["name"] for worker in workers]:
            raise StepError(
                f"the task ran on {ran_on}, which is no worker",
                f"kubectl -n {self.namespace} get pods -o wide",
            )
        return ran_on

    def run(self) -> str:
        """Ready, a task on the worker, and the probe of the product."""
        head = self.ensure()
        worker = self.run_task()
        self.trial.progress.note(f"a task ran on {worker}")
        return f"a task ran on {worker}; {self.probe(head)}"

    def probe(self, head: Object) -> str:
        """Dial the head as an intruder and as a member would, through a forwarded port."""
        cluster = f"{self.namespace}/{self.name}"
        arguments = ["check", "--probe", cluster, "--address", "127.0.0.1", "--output", "json"]
        with self.trial.forwarded(self.namespace, head["metadata"]["name"], *PORTS):
            ended = self.trial.raywarden(*arguments, namespace=self.installation.namespace)
        found = [entry for entry in findings(ended) if entry[0].startswith("probe")]
        wrong = unexpected(failures(found), self.trial.images.ray.version)
        passed = [entry for _, entry in found if entry["status"] == "ok"]
        if wrong or not passed:
            raise StepError(
                "; ".join(wrong) or "the probe could not dial the head",
                f"kubectl -n {self.namespace} port-forward {head['metadata']['name']} "
                f"{' '.join(map(str, PORTS))}, and in a second terminal: raywarden check --probe "
                f"{cluster} --address 127.0.0.1",
            )
        return f"raywarden check --probe: {len(passed)} ok, 0 failed"

    def scale(self) -> str:
        """Ray's autoscaler adds a worker and removes it."""
        head = self.ensure()["metadata"]["name"]
        progress = self.trial.progress
        self.trial.python(self.namespace, head, _REQUEST % 2)
        self.wait_workers(2, _SCALE_SECONDS)
        up = progress.seconds
        progress.note("the second worker is ready; taking the request back")
        self.trial.python(self.namespace, head, _REQUEST % 0)
        self.wait_workers(1, _SCALE_SECONDS)
        return f"1 to 2 workers in {up:.0f} s, back to 1 in {progress.seconds - up:.0f} s"

    def _of(self, labels: str) -> str:
        return f"ray.io/cluster={self.name},{labels}"


def unexpected(failures: list[str], ray: str) -> list[str]:
    """The failures of a probe that this version of Ray does not explain.

    Before Ray 2.54 the agent asks nobody for a token; only the network closes its port.
    """
    version = ray_version(ray)
    if version is None or version >= AGENT_AUTH_SINCE:
        return failures
    return [failure for failure in failures if f":{_AGENT} " not in failure]
