"""Accelerators, such as GPUs: which resources they are, and which pods and groups ask for them."""

import re
from collections.abc import Collection
from typing import Any

from policies.documents.untyped import as_dict
from policies.ray.pod import Container, Pod
from policies.ray.workload import Group

# Resources of device plugins, besides those that end with `gpu`, as KubeRay has it
# (`utils.IsGPUResourceKey`, `customAcceleratorToRayResourceMap`).
PREFIXES = (
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
SHARES = ("gpu-fraction", "gpu-memory")
NOT_DEVICES = frozenset({"cpu", "ephemeral-storage", "memory"})
# Quantities that begin like this are not zero, and nearly every quantity does.
NOT_ZERO = frozenset("123456789")
_NUMBER = re.compile(r"[-+]?[0-9.]{0,40}")


def is_accelerator(resource: str) -> bool:
    """True for the name of a GPU, TPU or similar device, such as `nvidia.com/gpu`."""
    return resource.endswith("gpu") or resource.startswith(PREFIXES)


def is_zero(quantity: Any) -> bool:
    """True for a quantity that means none, such as `0`, `0Gi` or null."""
    text = quantity if isinstance(quantity, str) else str(quantity)
    if text[:1] in NOT_ZERO:
        return False
    match = _NUMBER.match(text)
    return match is None or not match[0].strip("-+0.")


def sizes_in(resources: Any, part: str) -> dict[str, Any]:
    """The `requests` or `limits` in the resources of a container or pod that are not zero."""
    sizes = as_dict(as_dict(resources).get(part))
    return {name: size for name, size in sizes.items() if not is_zero(size)}


def accelerators_in(resources: Any) -> Collection[str]:
    """The accelerators among the requests and limits of a container."""
    names, parts = set[str](), as_dict(resources)
    for part in ("requests", "limits"):
        sizes = as_dict(parts.get(part))
        # Most containers ask for nothing else.
        if not sizes.keys() <= NOT_DEVICES:
            devices = filter(is_accelerator, sizes)
            names.update(name for name in devices if not is_zero(sizes[name]))
    return names


def gives_ray_gpus(group: Group) -> bool:
    """True if the group tells Ray that it has GPUs, by `resources` or by `num-gpus`.

    KubeRay otherwise derives the number from the limits of the Ray container. `resources` takes
    precedence (KubeRay 1.7 `updateRayStartParamsResources`).
    """
    if "num-gpus" not in group.start_params and "resources" not in group.raw:
        return False
    number = group.start_params.get("num-gpus", 0)
    for name, size in as_dict(group.raw.get("resources")).items():
        if name.lower().endswith("gpu"):
            number = size
    return not is_zero(number)


def has_devices(container: Container, pod: Pod) -> bool:
    """True if the scheduler gives the container a device of any kind.

    By a limit of an extended resource, by a claim (dynamic resource allocation), or by an
    annotation for a shared GPU.
    """
    resources = as_dict(container.raw.get("resources"))
    if resources.get("claims") or any(name in pod.annotations for name in SHARES):
        return True
    return any("/" in name for name in sizes_in(resources, "limits"))
