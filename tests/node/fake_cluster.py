"""A cluster in memory, for what a run asks kubectl before and after its steps."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.node.kubectl import Ended, Kubectl
from tests.support.factory import Object

OPERATOR_LABELS = {"app.kubernetes.io/component": "kuberay-operator"}


@dataclass
class FakeCluster:
    """Answers `get`, `version` and `delete`; `deletions` has the arguments of each `delete`.

    What is applied is not stored.

    Commands with the word `broken` fail. Objects of the kind `stuck` stay where they are.
    """

    objects: dict[str, list[Object]] = field(default_factory=dict)
    deletions: list[str] = field(default_factory=list)
    broken: str = ""
    stuck: str = ""
    version: str = "v1.36.2"

    @property
    def kubectl(self) -> Kubectl:
        return Kubectl("kubectl", self._run)

    def add(self, kind: str, name: str, namespace: str = "", **labels: str) -> Object:
        """Put an object into the cluster; returns it."""
        made: Object = {"metadata": {"name": name, "namespace": namespace, "labels": labels}}
        self.objects.setdefault(kind, []).append(made)
        return made

    def add_kuberay(self, image: str = "quay.io/kuberay/operator:v1.7.0", *args: str) -> None:
        """Install KubeRay's CRD and operator."""
        self.add("customresourcedefinition", "rayclusters.ray.io")
        operator = self.add("deployments.apps", "kuberay-operator", "kuberay-system")
        operator["metadata"]["labels"] = OPERATOR_LABELS
        operator["status"] = {"readyReplicas": 1}
        container = {"image": image, "command": ["/manager"], "args": list(args)}
        operator["spec"] = {"template": {"spec": {"containers": [container]}}}

    def _run(self, command: Sequence[str], given: str, seconds: float) -> Ended:
        _, verb, *arguments = command
        if self.broken and self.broken in command:
            return Ended(1, "", "Error from server: broken")
        if verb == "version":
            return Ended(0, json.dumps({"serverVersion": {"gitVersion": self.version}}), "")
        if verb == "apply":
            return Ended(0, "", "")
        options = dict(_option(argument) for argument in arguments if argument.startswith("--"))
        kind, *names = [argument for argument in arguments if not argument.startswith("--")]
        found = [entry for entry in self.objects.get(kind, []) if _matches(entry, options)]
        if verb == "delete":
            self._delete(kind, found, options)
        elif names:
            named = [entry for entry in found if entry["metadata"]["name"] == names[0]]
            return Ended(0, json.dumps(named[0]) if named else "", "")
        return Ended(0, json.dumps({"items": found}), "")

    def _delete(self, kind: str, found: list[Object], options: dict[str, str]) -> None:
        self.deletions.append(" ".join([kind, *_chosen(options)]))
        if kind != self.stuck:
            kept = [entry for entry in self.objects.get(kind, []) if entry not in found]
            self.objects[kind] = kept


def _option(argument: str) -> tuple[str, str]:
    name, _, value = argument.partition("=")
    return name, value


def _chosen(options: dict[str, str]) -> list[str]:
    return [value for name, value in options.items() if name in ("--selector", "--namespace")]


def _matches(entry: Object, options: dict[str, str]) -> bool:
    metadata = entry["metadata"]
    wanted = [pair.partition("=") for pair in options.get("--selector", "").split(",") if pair]
    labelled = all(metadata["labels"].get(key) == value for key, _, value in wanted)
    return labelled and options.get("--namespace", metadata["namespace"]) == metadata["namespace"]
