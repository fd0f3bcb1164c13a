"""Ways to write an object, or to have it made, that change nothing of what it does.

A field whose name has other letters or a blank is no field: the API server decodes JSON with
case-sensitive names (`UnmarshalCaseSensitivePreserveInts` in `k8s.io/apimachinery`,
`pkg/runtime/serializer/json`), and drops what no schema knows; custom resources are pruned by exact
names too. KubeRay's schemas preserve no unknown fields, and its client decodes with the same
library. The names in labels, annotations and selectors are data, so another name is another entry.
"""

import copy
import json
import re
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

from policies.injection.contract import API_TOKEN_DIRECTORY
from tests.policies.test_properties import places
from tests.support import factory
from tests.support.factory import Object

Place = tuple[str | int, ...]
# Maps whose names are data.
_FREE = frozenset(
    [
        "annotations",
        "data",
        "labels",
        "limits",
        "matchLabels",
        "nodeSelector",
        "rayStartParams",
        "requests",
        "selector",
    ]
)
# Lists whose order has a meaning, or may have one.
_ORDERED = frozenset(["args", "command", "env", "envFrom", "initContainers", "sources"])
_SHELL = frozenset(["args", "command"])
_EMBEDDED_YAML = frozenset(["runtimeEnvYAML", "serveConfigV2"])


def fields(document: Object) -> list[Place]:
    """The places of all fields below the top level, without the object's name and namespace.

    The API server refuses a `valueFrom` without a source that it knows, so its fields are left out.
    """
    return [
        place
        for place in places(document)
        if len(place) > 1
        and isinstance(place[-1], str)
        and place[-2] != "valueFrom"
        and not _FREE.intersection(place[:-1])
        and place not in (("metadata", "name"), ("metadata", "namespace"))
    ]


def respelled(name: str) -> list[str]:
    """Names that look like this one and mean nothing."""
    return [name.swapcase(), name[:1].swapcase() + name[1:], f"{name} ", f" {name}"]


def at(document: Object, place: Place) -> Any:
    node: Any = document
    for token in place:
        node = node[token]
    return node


def renamed(document: Object, place: Place, name: str) -> Object:
    """A copy in which the field has another name, at its old position."""
    result = copy.deepcopy(document)
    parent = at(result, place[:-1])
    members = [(name if key == place[-1] else key, value) for key, value in parent.items()]
    parent.clear()
    parent.update(members)
    return result


def without(document: Object, place: Place) -> Object:
    result = copy.deepcopy(document)
    del at(result, place[:-1])[place[-1]]
    return result


def with_decoy(document: Object, place: Place, name: str, value: Any) -> Object:
    """A copy with another field beside the one at `place`."""
    result = copy.deepcopy(document)
    at(result, place[:-1])[name] = value
    return result


def reordered(value: Any, random: Random, name: str = "") -> Any:
    """A copy with the members of every object, and of every list without an order, shuffled.

    The first container stays first: it is Ray's (`RayContainerIndex` of KubeRay).
    """
    if isinstance(value, dict):
        members = list(value.items())
        random.shuffle(members)
        return {key: reordered(member, random, key) for key, member in members}
    if not isinstance(value, list):
        return value
    items = [reordered(item, random) for item in value]
    if name in _ORDERED:
        return items
    kept = items[:1] if name == "containers" else []
    rest = items[len(kept) :]
    random.shuffle(rest)
    return [*kept, *rest]


def spaced(value: Any, name: str = "") -> Any:
    """A copy with blanks where the program that reads the value drops them.

    These are shell text, YAML inside a field, and source ranges: the API server accepts blanks
    around them, and strips them (`ValidateService`, `GetLoadBalancerSourceRanges`).
    """
    if isinstance(value, dict):
        return {key: spaced(member, _name_below(name, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [spaced(item, name) for item in value]
    if not isinstance(value, str):
        return value
    # A word without blanks is no shell text: `sh` reads only the text after `-c`.
    if name == "entrypoint" or (name in _SHELL and " " in value):
        return "  " + re.sub(" ", " \t ", value) + " "
    if name in _EMBEDDED_YAML:
        return "\n# Comment\n" + value.replace("\n", "  \n\n") + "\n"
    if name in ("loadBalancerSourceRanges", "rayStartParams"):
        return f" {value}\t"
    return value


def relettered(value: Any, name: str = "") -> Any:
    """A copy in other letters where the program that reads the value ignores them.

    containerd raises the names of capabilities (`WithCapabilities`), and KubeRay lowers the value
    of its annotation (`BuildPod`).
    """
    if isinstance(value, dict):
        return {key: relettered(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [relettered(item, name) for item in value]
    if name in ("add", "ray.io/overwrite-container-cmd") and isinstance(value, str):
        return value.swapcase()
    return value


def _name_below(name: str, key: str) -> str:
    """What a member is called: those of `rayStartParams` have the name of the whole."""
    return name if name == "rayStartParams" else key


# How each kind of KubeRay holds the spec of a RayCluster. RayCronJob holds a RayJob's spec.
_HOLDERS: dict[str, Callable[[Object], Object]] = {
    "RayJob": lambda spec: factory.ray_job(rayClusterSpec=spec),
    "RayService": lambda spec: factory.ray_service(rayClusterConfig=spec),
    "RayCronJob": lambda spec: factory.ray_cron_job(rayClusterSpec=spec),
}
KUBERAY_KINDS = tuple(_HOLDERS)


def from_kuberay(kind: str, cluster: Object) -> Object:
    """An object of KubeRay from which it makes this RayCluster.

    KubeRay gives the cluster a name of its own. A RayCronJob gives it no metadata.
    """
    holder = _HOLDERS[kind](copy.deepcopy(cluster["spec"]))
    holder["metadata"] = copy.deepcopy(cluster["metadata"]) | {"name": "fresh"}
    return holder


def in_a_cron_job(job: Object) -> Object:
    """The RayCronJob that makes this RayJob."""
    result = factory.ray_cron_job()
    result["metadata"] = copy.deepcopy(job["metadata"]) | {"name": "fresh"}
    result["spec"]["jobTemplate"] = copy.deepcopy(job["spec"])
    return result


_GROUPS = {"CronJob": "batch/v1", "Job": "batch/v1", "ReplicationController": "v1"}
WORKLOADS = (
    "Pod",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "ReplicaSet",
    "ReplicationController",
    "Job",
    "CronJob",
)


def from_template(kind: str, template: Object) -> Object:
    """An object of Kubernetes itself that makes pods from this template."""
    template = copy.deepcopy(template)
    metadata = {"name": "web", "namespace": "team-a"}
    if kind == "Pod":
        metadata = template.get("metadata", {}) | metadata
        spec = with_api_token(template["spec"])
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata, "spec": spec}
    spec = {"template": template}
    if kind == "CronJob":
        spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": spec}}
    api_version = _GROUPS.get(kind, "apps/v1")
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec}


def with_api_token(spec: Object) -> Object:
    """The spec of a pod as webhooks see it: the API server has mounted the API token."""
    if spec.get("automountServiceAccountToken") is False:
        return spec
    source = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    volume = {"name": "kube-api-access-x", "projected": {"sources": [source]}}
    mount = {"name": volume["name"], "mountPath": API_TOKEN_DIRECTORY, "readOnly": True}
    containers = [
        {**container, "volumeMounts": [*container.get("volumeMounts", ()), mount]}
        for container in spec["containers"]
    ]
    return {**spec, "containers": containers, "volumes": [*spec.get("volumes", ()), volume]}


def as_ray(template: Object, role: str) -> Iterator[Object]:
    """This template as Ray's without KubeRay: by RayWarden's labels, then by its command."""
    labeled = copy.deepcopy(template)
    labels = labeled.setdefault("metadata", {}).setdefault("labels", {})
    labels |= {"raywarden.io/cluster": "django", "raywarden.io/role": role}
    yield labeled
    started = copy.deepcopy(template)
    container = started["spec"]["containers"][0]
    if not container.get("command") and not container.get("args"):
        container["command"] = ["ray", "start", "--address=head:6379", "--block"]
        yield started


def in_a_list(kind: str, items: list[Object]) -> Object:
    return {"apiVersion": "v1" if kind == "List" else "ray.io/v1", "kind": kind, "items": items}


def as_yaml(documents: list[Object]) -> str:
    return yaml.dump_all(documents, Dumper=_Dumper)


class _Dumper(yaml.SafeDumper):
    """YAML without aliases, and with quotes: to the YAML of Kubernetes, a plain Y is true."""

    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)


def as_json(documents: list[Object]) -> str:
    """A stream of documents in JSON, which is YAML too."""
    return "\n---\n".join(json.dumps(document) for document in documents)
