"""A RayJob in one submission mode."""

import json
import shlex

from tests.node.manifests import example, the
from tests.node.result import SkipStep, StepError
from tests.node.trial import Trial, is_ready
from tests.support.factory import Object

MODES = {
    "rayjob-k8s": "K8sJobMode",
    "rayjob-sidecar": "SidecarMode",
    "rayjob-http": "HTTPMode",
    "rayjob-interactive": "InteractiveMode",
}
_PROGRAM = "import ray; ray.init(); print(ray.get(ray.remote(lambda: 6 * 7).remote()))"
# KubeRay never sees the end of a job in SidecarMode that ends before all pods are ready
# (kuberay#4199).
_LASTING = f"{_PROGRAM}; import time; time.sleep(60)"
_SECONDS = 420.0
_SUBMISSION = "by-hand"


class JobTrial:
    """The RayJob of the hardened example, as one submission mode runs it."""

    def __init__(self, trial: Trial, mode: str) -> None:
        self.trial, self.mode = trial, mode
        self.objects = example("rayjob", trial.images.ray)
        self.job = the(self.objects, "RayJob")
        metadata, spec = self.job["metadata"], self.job["spec"]
        self.name = metadata["name"] = mode.removesuffix("Mode").lower()
        self.namespace = str(metadata["namespace"])
        program = _LASTING if mode == "SidecarMode" else _PROGRAM
        spec.update(entrypoint=f"python -c {shlex.quote(program)}")
        spec.update(submissionMode=mode, backoffLimit=0)
        # The job stays, so that its end can be read.
        spec.update(activeDeadlineSeconds=int(_SECONDS), ttlSecondsAfterFinished=600)
        del spec["runtimeEnvYAML"]
        spec["rayClusterSpec"]["workerGroupSpecs"][0].update(
            replicas=1, minReplicas=1, maxReplicas=1
        )
        if mode != "K8sJobMode":
            # Only in this mode there is a pod for it.
            del spec["submitterPodTemplate"]
        if mode == "InteractiveMode":
            del spec["entrypoint"], spec["backoffLimit"]

    def run(self) -> str:
        """Create it, and wait until it has succeeded."""
        progress = self.trial.progress
        self.trial.kubectl.apply(*self.objects)
        if self.mode == "InteractiveMode":
            self._submit()
        progress.wait(f"RayJob {self.name}", _SECONDS, self._missing, self._next_step)
        seconds = progress.seconds
        self._look_at_pods()
        self.trial.kubectl.must(
            "delete", "rayjob", self.name, f"--namespace={self.namespace}", seconds=120
        )
        return f"{self.mode}: SUCCEEDED after {seconds:.0f} s, with certificates"

    def _look_at_pods(self) -> None:
        """Every Ray pod of the job must have got a certificate."""
        cluster = self._stored()["status"]["rayClusterName"]
        pods = self.trial.pods(self.namespace, f"ray.io/cluster={cluster},ray.io/is-ray-node=yes")
        for pod in pods:
            names = [container["name"] for container in pod["spec"].get("initContainers", [])]
            if "raywarden-enroll" not in names:
                name = pod["metadata"]["name"]
                raise StepError(f"the pod {name} got no certificate", self._next_step)
        if not pods:
            raise StepError(f"RayCluster {cluster} has no pods", self._next_step)

    @property
    def _next_step(self) -> str:
        return f"kubectl -n {self.namespace} describe rayjob {self.name}, and the log of its pods"

    def _stored(self) -> Object:
        return self.trial.kubectl.get("rayjob", self.name, self.namespace)

    def _missing(self) -> str:
        status = self._stored().get("status", {})
        deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        pods = self.trial.pods(self.namespace, "")
        self.trial.refuse_stuck(self.namespace, pods)
        if deployment == "Failed" or job == "FAILED":
            said = status.get("message") or status.get("reason") or "no message"
            raise StepError(f"{self.mode}: {deployment} {job}: {said}", self._next_step)
        if job == "SUCCEEDED":
            return ""
        ready = sum(map(is_ready, pods))
        return f"{deployment or 'no status'} {job}, {ready} of {len(pods)} pods ready".strip()

    def _submit(self) -> None:
        """Submit a job as its author does in this mode, and tell KubeRay its id."""

        def missing() -> str:
            status = self._stored().get("status", {}).get("jobDeploymentStatus", "no status")
            return "" if status == "Waiting" else str(status)

        self.trial.progress.wait("KubeRay to wait for a job", _SECONDS, missing, self._next_step)
        cluster = self._stored()["status"]["rayClusterName"]
        labels = f"ray.io/cluster={cluster},ray.io/node-type=head"
        (head,) = self.trial.wait_pods("the head", self.namespace, labels, 1)
        submit = ["ray", "job", "submit", "--no-wait", "--address=http://127.0.0.1:8265"]
        command = [*submit, f"--submission-id={_SUBMISSION}", "--", "python", "-c", _PROGRAM]
        ended = self.trial.kubectl.execute(
            self.namespace, head["metadata"]["name"], *command, seconds=120
        )
        if ended.code:
            raise StepError(
                f"ray job submit: {(ended.errors or ended.output)[-400:]}", self._next_step
            )
        change = json.dumps({"spec": {"jobId": _SUBMISSION}})
        self.trial.kubectl.must(
            "patch", "rayjob", self.name, f"--namespace={self.namespace}", "--type=merge",
            f"--patch={change}",
        )  # fmt: skip


def run_job(trial: Trial, kuberay: str, mode: str) -> str:
    """Run a RayJob in this mode, if this KubeRay has it."""
    if mode == "SidecarMode" and kuberay.startswith("1.4."):
        raise SkipStep(f"KubeRay {kuberay} has no SidecarMode")
    return JobTrial(trial, mode).run()
