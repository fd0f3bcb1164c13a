"""A RayService that serves, is changed in place, and moves to a new cluster."""

import base64
import io
import zipfile

import yaml

from tests.node.manifests import example, the
from tests.node.result import StepError
from tests.node.trial import Trial
from tests.support.factory import Object

_SECONDS = 420.0
_APPLICATION = """
import os
from ray import serve

@serve.deployment
class Answer:
    def __call__(self, request):
        return os.environ["ANSWER"]

app = Answer.options(ray_actor_options={"num_cpus": 0.5}).bind()
"""
# The caller is a pod: the control plane of some clusters cannot reach pods.
_CALL = """
import time, urllib.request
lost = 0
for _ in range(20):
    try:
        url = "http://text-serve-svc:8000/summarize"
        answer = urllib.request.urlopen(url, timeout=5).read().decode()
    except OSError as error:
        answer, lost = f"nothing ({error})", lost + 1
    time.sleep(0.1)
print(20, lost, answer)
"""
_CODE = "application"


class ServiceTrial:
    """The RayService of the hardened example, with an application of one file."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.objects = example("rayservice", trial.images.ray)
        self.service = the(self.objects, "RayService")
        self.namespace = str(self.service["metadata"]["namespace"])
        self.calls, self.lost = 0, 0
        spec = self.service["spec"]
        group = spec["rayClusterConfig"]["workerGroupSpecs"][0]
        group.update(replicas=1, minReplicas=1, maxReplicas=1)
        for pod in (spec["rayClusterConfig"]["headGroupSpec"], group):
            pod_spec = pod["template"]["spec"]
            pod_spec["volumes"] = [{"name": _CODE, "configMap": {"name": _CODE}}]
            pod_spec["containers"][0]["volumeMounts"] = [
                {"name": _CODE, "mountPath": "/etc/application", "readOnly": True}
            ]
        self.objects.insert(1, self._code())
        self.objects.append(self._caller())

    def run(self) -> str:
        """Serve; then change the application, and then the cluster."""
        progress = self.trial.progress
        self._set("first")
        self.trial.kubectl.apply(*self.objects)
        self.trial.wait_pods("the caller", self.namespace, "app=caller", 1)
        self._wait("first")
        first, served = self._active(), progress.seconds
        self.calls = self.lost = 0
        self._change("second", first, same_cluster=True)
        in_place = progress.seconds - served
        template = self.service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]["template"]
        template.setdefault("metadata", {})["annotations"] = {"example.com/version": "2"}
        self._change("third", first, same_cluster=False)
        moved = progress.seconds - served - in_place
        self.trial.kubectl.must("delete", "rayservice", "text", f"--namespace={self.namespace}")
        return (
            f"serves after {served:.0f} s, changed in place in {in_place:.0f} s, on a new cluster "
            f"in {moved:.0f} s; {self.lost} of {self.calls} requests failed during the changes"
        )

    def _change(self, answer: str, before: str, *, same_cluster: bool) -> None:
        self.trial.progress.note(f"changing the answer to {answer}")
        self._set(answer)
        self.trial.kubectl.apply(self.service)
        self._wait(answer)
        if (self._active() == before) is not same_cluster:
            kept = "moved to another cluster" if same_cluster else "stayed on the old cluster"
            raise StepError(f"the RayService {kept}: {self._active()}", self._next_step)

    def _set(self, answer: str) -> None:
        config = yaml.safe_load(self.service["spec"]["serveConfigV2"])
        (application,) = config["applications"]
        application["import_path"] = "served:app"
        application["runtime_env"] = {
            "working_dir": "file:///etc/application/served.zip",
            "env_vars": {"ANSWER": answer},
        }
        self.service["spec"]["serveConfigV2"] = yaml.safe_dump(config)

    def _wait(self, answer: str) -> None:
        def missing() -> str:
            self.trial.refuse_stuck(self.namespace, self.trial.pods(self.namespace, ""))
            self._refuse_failed()
            calls, lost, said = self.trial.python(self.namespace, "caller", _CALL).split(" ", 2)
            self.calls, self.lost = self.calls + int(calls), self.lost + int(lost)
            return "" if said == answer else f"the answer is {said}"

        self.trial.progress.wait(f"the answer {answer}", _SECONDS, missing, self._next_step)

    def _refuse_failed(self) -> None:
        """Fail if Ray Serve says that it cannot deploy the application."""
        status = self.trial.kubectl.get("rayservice", "text", self.namespace).get("status", {})
        for cluster in ("activeServiceStatus", "pendingServiceStatus"):
            applications = status.get(cluster, {}).get("applicationStatuses", {})
            for name, application in applications.items():
                if application.get("status") == "DEPLOY_FAILED":
                    said = application.get("message", "").strip().rpartition("\n")[2]
                    raise StepError(f"Ray Serve cannot deploy {name}: {said}", self._next_step)

    @property
    def _next_step(self) -> str:
        return f"kubectl -n {self.namespace} describe rayservice text"

    def _active(self) -> str:
        stored = self.trial.kubectl.get("rayservice", "text", self.namespace)
        return str(stored["status"]["activeServiceStatus"]["rayClusterName"])

    def _code(self) -> Object:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("served.py", _APPLICATION)
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": _CODE, "namespace": self.namespace},
            "binaryData": {"served.zip": base64.b64encode(content.getvalue()).decode()},
        }

    def _caller(self) -> Object:
        return idle_pod("caller", self.namespace, self.trial.images.ray.name)


def idle_pod(name: str, namespace: str, image: str) -> Object:
    """A pod without Ray that waits for `kubectl exec`; it meets the Pod Security Standards."""
    container = {
        "name": name,
        "image": image,
        "command": ["sleep", "3600"],
        "resources": {
            "requests": {"cpu": "10m", "memory": "64Mi"},
            "limits": {"cpu": "500m", "memory": "256Mi"},
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }
