"""Names that KubeRay or Kubernetes refuses: of the object, its Services, groups and labels.

Source: `controllers/ray/utils/constant.go`, `ValidateRayClusterMetadata` and its like, `PodName`,
`labelPod`; Kubernetes' `validation.IsValidLabelValue` and `ValidateServiceName`.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, printable
from policies.kuberay.problem import NotAccepted
from policies.kuberay.values import (
    is_dns_1035_label,
    is_dns_label,
    is_label_name,
    is_label_value,
    is_placeholder,
    is_subdomain,
)
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Group, Workload

_MAX_LENGTHS = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36}
# Before KubeRay 1.7, a RayCronJob ends the names of its RayJobs with six characters.
_MAX_CRON_LENGTH_BEFORE = 41
# What Kubernetes adds to `generateName`, and KubeRay to the name of a RayCluster it creates.
_RANDOM_LENGTH = 5
_RANDOM = "-xxxxx"
# KubeRay cuts a pod's name after this many characters, then adds the rest.
_MAX_POD_PREFIX = 50


def name_refusals(workload: Workload, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
    """What is wrong with the object's own name, and that of the Service of its head."""
    limit = _MAX_LENGTHS[workload.kind]
    if workload.kind == "RayCronJob" and kuberay.is_before(1, 7):
        limit = _MAX_CRON_LENGTH_BEFORE
    name, field = as_str(workload.metadata.get("name")), "name"
    if not name and workload.name:
        name, field = workload.name + "x" * _RANDOM_LENGTH, "generateName"
    if is_dns_1035_label(name) and len(name) <= limit:
        return
    place = ROOT / "metadata" / field
    if len(name) > limit:
        message = f"KubeRay refuses a {workload.kind} whose name is longer than {limit} characters"
        yield NotAccepted(message, place, f"write a name of at most {limit} characters")
    elif name and not is_placeholder(name):
        yield NotAccepted(
            f"KubeRay refuses the name of the {workload.kind}: it must be a DNS label that starts "
            "with a letter",
            place,
            "write a name of lower-case letters, digits and hyphens that starts with a letter",
        )


def child_refusals(workload: Workload) -> Iterator[NotAccepted]:
    """What the API server will refuse to KubeRay: the names and labels of pods and Services."""
    if workload.cluster:
        service = as_dict(workload.cluster.head.raw.get("headService"))
        place = workload.cluster.head.pointer / "headService"
        yield from _service_name(service, place, "the head's Service")
        prefix = workload.name if workload.kind == "RayCluster" else workload.name + _RANDOM
        for group in workload.cluster.groups[1:]:
            yield from _group_name(group, prefix)
    if workload.kind == "RayService":
        spec = as_dict(workload.document.get("spec"))
        place = ROOT / "spec" / "serveService"
        yield from _service_name(as_dict(spec.get("serveService")), place, "the Service of Serve")
    yield from _labels(workload.labels, ROOT, "the object")
    for pod in workload.pods:
        yield from _labels(pod.labels, pod.pointer, f"the pods of the {pod.title}")


def _service_name(service: Mapping[str, Any], place: Pointer, title: str) -> Iterator[NotAccepted]:
    name = as_str(as_dict(service.get("metadata")).get("name"))
    if name and not is_placeholder(name) and not is_dns_label(name):
        yield NotAccepted(
            f"the API server refuses {title}: its name must be a DNS label of at most 63 letters",
            place / "metadata" / "name",
            "write a name of lower-case letters, digits and hyphens",
        )


def _group_name(group: Group, prefix: str) -> Iterator[NotAccepted]:
    """What is wrong with a group's name, which is part of the name and the labels of its pods."""
    if is_placeholder(group.name) or is_placeholder(prefix):
        return
    pod = f"{prefix}-{group.name}"[:_MAX_POD_PREFIX].lower() + "-worker-xxxxx"
    if is_label_value(group.name) and (not prefix or is_subdomain(pod)):
        return
    yield NotAccepted(
        f"the API server refuses the pods of the {group.title}: its groupName is part of their "
        "names and labels",
        group.pointer / "groupName",
        "write a groupName of at most 63 lower-case letters, digits and hyphens",
    )


def _labels(labels: Mapping[str, Any], owner: Pointer, title: str) -> Iterator[NotAccepted]:
    for name, value in labels.items():
        text = as_str(value)
        if is_placeholder(f"{name}{text}"):
            continue
        if not is_label_name(str(name)) or not is_label_value(text):
            shown = printable(str(name), 60)
            yield NotAccepted(
                f"the API server refuses {title}: {shown} is not a label of Kubernetes",
                owner / "metadata" / "labels" / str(name),
                "write a name and a value of at most 63 letters, digits, hyphens, dots and "
                "underscores",
            )
