"""Ray as Deployments, without KubeRay."""

import secrets

from tests.node.manifests import example, the
from tests.node.result import StepError
from tests.node.trial import READY_SECONDS, Trial

_ANSWER = "a task ran on "
_CALL = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:8000/", timeout=60).read().decode())
"""


def run_deployment(trial: Trial) -> str:
    """The hardened example: a head, a worker, and a web server that sends a task."""
    objects = example("deployment", trial.images.ray)
    namespace = str(the(objects, "Namespace")["metadata"]["name"])
    token = {"auth_token": secrets.token_hex(32)}
    for document in objects:
        if document["kind"] == "Deployment":
            document["spec"]["replicas"] = 1
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "web-ray", "namespace": namespace},
        "stringData": token,
    }
    trial.kubectl.apply(objects[0], secret, *objects[1:])
    for role in ("head", "worker", "client"):
        labels = f"raywarden.io/cluster=web,raywarden.io/role={role}"
        (pod,) = trial.wait_pods(f"the {role}", namespace, labels, 1, READY_SECONDS)
    said = trial.python(namespace, pod["metadata"]["name"], _CALL)
    if not said.startswith(_ANSWER):
        raise StepError(
            f"the web server answers {said!r}", f"kubectl -n {namespace} logs deployment/web"
        )
    worker = said.removeprefix(_ANSWER)
    trial.kubectl.must("delete", "deployments", "--all", f"--namespace={namespace}", seconds=120)
    return f"the web server, with its own certificate, sent a task to {worker}"
