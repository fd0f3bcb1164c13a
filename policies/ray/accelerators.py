"""Accelerators, such as GPUs: which resources they are, and which pods and groups ask for them."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from policies.documents.untyped import as_dict
from policies.ray.pod import Container, Pod
from policies.ray.workload import Group

# Resources of device plugins, besides those that end with `gpu`, as KubeRay has it
# (`utils.IsGPUResourceKey`, `customAcceleratorToRayResourceMap`).
_PREFIXES = (
    "aliyun.com/gpu-",
    "aws.amazon.com/neuron",
    "cambricon.com/",
    "google.com/tpu",
    "gpu.intel.com/",
    "habana.ai/",
    "huawei.com/",
    "nvidia.com/",
)
# KAI Scheduler and Run:ai share a GPU between pods that ask by annotation.
_SHARES = ("gpu-fraction", "gpu-memory")
_NUMBER = re.compile(r"[-+]?[0-9.]{0,40}")


def is_accelerator(resource: str) -> bool:
    """True for the name of a GPU, TPU or similar device, such as `nvidia.com/gpu`."""
    return resource.endswith("gpu") or resource.startswith(_PREFIXES)


def is_zero(quantity: Any) -> bool:
    """True for a quantity that means none, such as `0`, `0Gi` or null."""
    text = str(quantity)
    # Nearly every quantity begins like this.
    if text and text[0] in "123456789":
        return False
    match = _NUMBER.match(text)
    return match is None or not match[0].strip("-+0.")


def sizes_in(resources: Any, part: str) -> dict[str, Any]:
    """The `requests` or `limits` in the resources of a container or pod that are not zero."""
    sizes = as_dict(as_dict(resources).get(part))
    return {name: size for name, size in sizes.items() if not is_zero(size)}


def accelerators_in(resources: Any) -> Collection[str]:
    """The accelerators among the requests and limits of a container."""
    names = {*sizes_in(resources, "requests"), *sizes_in(resources, "limits")}
    return {name for name in names if is_accelerator(name)}


def gives_ray_gpus(group: Group) -> bool:
    """True if the group tells Ray that it has GPUs, by `resources` or by `num-gpus`.

    KubeRay otherwise derives the number from the limits of the Ray container. `resources` takes
    precedence (KubeRay 1.7 `updateRayStartParamsResources`).
    """
    stated = [size for name, size in _logical_gpus(group.raw)] or [
        group.start_params.get("num-gpus", 0)
    ]
    return not is_zero(stated[-1])


def _logical_gpus(group: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, size in as_dict(group.get("resources")).items():
        if name.lower().endswith("gpu"):
            yield name, size


def has_devices(container: Container, pod: Pod) -> bool:
    """True if the scheduler gives the container a device of any kind.

    By a limit of an extended resource, by a claim (dynamic resource allocation), or by an
    annotation for a shared GPU.
    """
    resources = as_dict(container.raw.get("resources"))
    if resources.get("claims") or any(name in pod.annotations for name in _SHARES):
        return True
    return any("/" in name for name in sizes_in(resources, "limits"))
