"""A replica of RayWarden ends while RayClusters are created."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kubernetes import client
from kubernetes.config import new_client_from_config
from urllib3.exceptions import HTTPError

from tests.node.installation import Installation
from tests.node.manifests import the
from tests.node.result import SkipStep, StepError
from tests.node.steps.ray_cluster import TrainingCluster
from tests.node.trial import Trial
from tests.support.factory import Object

_CALLERS = 2
_PAUSE_SECONDS = 0.05
_BEFORE_SECONDS, _AFTER_SECONDS = 3.0, 5.0
_CLUSTERS = ("ray.io", "v1")


@dataclass
class Creates:
    """Counts what the API server answers to creates that it does not store."""

    create: Callable[[], Object]
    accepted: int = 0
    unmutated: int = 0
    refused: list[str] = field(default_factory=list)

    def run(self, ended: threading.Event) -> None:
        """Create until `ended` is set."""
        while not ended.wait(_PAUSE_SECONDS):
            try:
                stored = self.create()
            except client.ApiException as refusal:
                self.refused.append(str(refusal.body))
            except HTTPError as failure:
                self.refused.append(f"the API server did not answer: {failure}")
            else:
                self.accepted += 1
                labels = stored["metadata"].get("labels", {})
                self.unmutated += labels.get("raywarden.io/tls") != "managed"


def end_a_replica(trial: Trial, installation: Installation, training: TrainingCluster) -> str:
    """Delete one replica under load: no create may be refused, and none may stay unmutated."""
    if installation.replicas < 2:
        raise SkipStep("the overlay has one replica, so its end is an outage")
    trial.kubectl.apply(*[entry for entry in training.objects if entry is not training.stored])
    cluster = dict(the(training.objects, "RayCluster"))
    cluster["metadata"] = {"generateName": "load-", "namespace": training.namespace}
    api = client.CustomObjectsApi(
        new_client_from_config()  # type: ignore[no-untyped-call]  # it has no types
    )

    def create() -> Object:
        place = (*_CLUSTERS, training.namespace, "rayclusters")
        stored: Any = api.create_namespaced_custom_object(*place, cluster, dry_run="All")
        return dict(stored)

    ended, creates = threading.Event(), Creates(create)
    callers = [threading.Thread(target=creates.run, args=(ended,)) for _ in range(_CALLERS)]
    for caller in callers:
        caller.start()
    try:
        ended.wait(_BEFORE_SECONDS)
        victim = trial.pods(installation.namespace, "app.kubernetes.io/name=raywarden")[0]
        name = victim["metadata"]["name"]
        trial.progress.note(f"deleting {name} during creates")
        trial.kubectl.must(
            "delete", "pod", name, f"--namespace={installation.namespace}", seconds=120
        )
        installation.wait_ready()
        ended.wait(_AFTER_SECONDS)
    finally:
        ended.set()
        for caller in callers:
            caller.join()
    return verdict(creates, installation.namespace)


def verdict(creates: Creates, namespace: str) -> str:
    """The counts, if they are as they must be."""
    seen = (
        f"{creates.accepted} creates accepted, {len(creates.refused)} refused, "
        f"{creates.unmutated} unmutated"
    )
    if creates.refused or creates.unmutated or not creates.accepted:
        first = f"; the first refusal: {creates.refused[0]}" if creates.refused else ""
        raise StepError(
            seen + first, f"kubectl -n {namespace} logs -l app.kubernetes.io/name=raywarden"
        )
    return seen
