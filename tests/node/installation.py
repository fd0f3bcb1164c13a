"""Installs RayWarden as the documentation says, and takes it away again in its steps."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.node.kubectl import Kubectl
from tests.node.ownership import MINE, RAY_KINDS, SELECTOR, WEBHOOKS
from tests.node.result import StepError
from tests.node.trial import Images, Trial, findings
from tests.support.deployed import CLUSTER_KINDS
from tests.support.factory import Object

# What check finds elsewhere in the cluster is no failure of this installation.
_NOT_OURS = ("coverage", "network-isolation")
_ROLLOUT_SECONDS = 180.0
_BUNDLE_SECONDS = 60.0
_NAME = "raywarden"


class Installation:
    """An overlay of `deploy/` with the images of the run."""

    def __init__(self, trial: Trial, overlay: Path) -> None:
        self.trial, self.overlay = trial, overlay
        self.folder = trial.folder / "overlay"
        self._objects: list[Object] = []

    @property
    def namespace(self) -> str:
        """The namespace of the overlay."""
        (namespace,) = [entry for entry in self.objects if entry["kind"] == "Namespace"]
        return str(namespace["metadata"]["name"])

    @property
    def objects(self) -> list[Object]:
        """What the overlay installs."""
        if not self._objects:
            write_overlay(self.folder, self.overlay, self.trial.images)
            output = self.trial.kubectl.must("kustomize", str(self.folder))
            self._objects = list(yaml.safe_load_all(output))
        return self._objects

    @property
    def replicas(self) -> int:
        """How many replicas the overlay has at least."""
        for entry in self.objects:
            if entry["kind"] == "HorizontalPodAutoscaler":
                return int(entry["spec"]["minReplicas"])
        (deployment,) = [entry for entry in self.objects if entry["kind"] == "Deployment"]
        return int(deployment["spec"].get("replicas", 1))

    def install(self) -> str:
        """Apply the overlay, wait for the replicas, and run `raywarden check`."""
        self.trial.progress.note(f"kubectl apply -k {self.overlay}, in {self.namespace}")
        self.trial.kubectl.must("apply", "--kustomize", str(self.folder), seconds=120)
        self.wait_ready()
        if publishes_by_hand(self.objects):
            self.trial.progress.note("raywarden ca publish")
            self.trial.raywarden("ca", "publish", namespace=self.namespace)
        return self.check()

    def wait_ready(self) -> None:
        """Wait until every replica is ready."""
        trial, namespace = self.trial, self.namespace
        trial.wait_pods(
            "the replicas", namespace, "app.kubernetes.io/name=raywarden", self.replicas,
            _ROLLOUT_SECONDS,
        )  # fmt: skip

    def check(self) -> str:
        """Run `raywarden check` until it finds no failure; returns how many checks passed."""
        passed: list[str] = []

        def missing() -> str:
            ended = self.trial.raywarden("check", "--output", "json", namespace=self.namespace)
            found = findings(ended)
            passed[:] = [entry["id"] for _, entry in found if entry["status"] == "ok"]
            return "; ".join(failures(found))

        # The API server learns of the webhooks and of the rights with some delay.
        self.trial.progress.wait(
            "raywarden check", _BUNDLE_SECONDS, missing,
            f"RAYWARDEN_NAMESPACE={self.namespace} raywarden check",
        )  # fmt: skip
        return f"{self.replicas} replicas ready, raywarden check: {len(passed)} ok, 0 failed"

    def uninstall(self) -> str:
        """Remove everything in the steps of `deploy/README.md`, and look for what is left."""
        kubectl = self.trial.kubectl
        definitions = custom_resources(kubectl)
        seed = ["secret", "raywarden-seed", f"--namespace={self.namespace}"]
        saved = self.trial.folder / "seed.yaml"
        saved.touch(0o600)
        saved.write_text(kubectl.must("get", *seed, "--output=yaml"))
        kubectl.must("delete", ",".join(WEBHOOKS), _NAME)
        self.trial.progress.note("the webhook configurations are gone; deleting the rest")
        kubectl.must("delete", "--ignore-not-found", "--kustomize", str(self.folder), seconds=180)
        self._delete_network_policies()
        left = remains(kubectl, self.objects)
        if left:
            raise StepError(f"still there: {', '.join(left)}", f"kubectl describe {left[0]}")
        if custom_resources(kubectl) != definitions:
            raise StepError("the CRDs of KubeRay changed", "kubectl get crd -o yaml")
        return f"nothing is left of {len(self.objects)} objects; KubeRay's CRDs are untouched"

    def _delete_network_policies(self) -> None:
        """Only in the namespaces of the run: elsewhere they may be somebody's protection."""
        written = "app.kubernetes.io/managed-by=raywarden"
        for namespace in self.trial.kubectl.list("namespaces", labels=SELECTOR):
            self.trial.kubectl.must(
                "delete", "networkpolicies", f"--namespace={namespace['metadata']['name']}",
                f"--selector={written}",
            )  # fmt: skip

    def restore_seed(self) -> None:
        """Create the namespace and the saved seed, before the first replica starts."""
        kubectl = self.trial.kubectl
        (namespace,) = [entry for entry in self.objects if entry["kind"] == "Namespace"]
        seed = yaml.safe_load((self.trial.folder / "seed.yaml").read_text())
        kept = {"name": seed["metadata"]["name"], "namespace": self.namespace}
        kubectl.apply(namespace, {**seed, "metadata": kept})


def publishes_by_hand(objects: Sequence[Object]) -> bool:
    """Whether neither the server nor cert-manager writes the caBundle."""
    (deployment,) = [entry for entry in objects if entry["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    written = {"name": "RAYWARDEN_WEBHOOK_CONFIGURATION", "value": ""} not in container["env"]
    return not written


def write_overlay(folder: Path, overlay: Path, images: Images) -> None:
    """Write an overlay of an overlay: other images, and a label on every object."""
    container = {
        "name": _NAME,
        "image": images.server,
        "env": [{"name": "RAYWARDEN_ENROLL_IMAGE", "value": images.enroll}],
    }
    patch = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": _NAME},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }
    folder.mkdir(exist_ok=True)
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        # kustomize refuses an absolute path.
        "resources": [os.path.relpath(overlay.resolve(), folder.resolve())],
        "patches": [{"patch": yaml.safe_dump(patch)}],
        "labels": [{"pairs": MINE, "includeSelectors": False}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document))


def failures(found: Sequence[tuple[str, dict[str, str]]]) -> list[str]:
    """What `raywarden check` found to be wrong with the installation itself."""
    return [
        entry["message"]
        for title, entry in found
        if entry["status"] == "failed" and title not in _NOT_OURS
    ]


def remains(kubectl: Kubectl, objects: Sequence[Object]) -> list[str]:
    """What is left of an installation; the objects in its namespace go with the namespace."""
    places = [(entry["kind"], entry["metadata"]["name"]) for entry in objects]
    return [
        f"{kind}/{name}"
        for kind, name in places
        if kind in CLUSTER_KINDS and kubectl.get(kind, name)
    ]


def custom_resources(kubectl: Kubectl) -> str:
    """The identities and generations of KubeRay's CRDs, to see whether they change."""
    found = [kubectl.get("customresourcedefinition", kind) for kind in RAY_KINDS]
    return json.dumps(
        [(entry["metadata"]["uid"], entry["metadata"]["generation"]) for entry in found]
    )
