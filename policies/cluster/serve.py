"""Which Services lead to Ray Serve and to no other part of Ray.

Serve is the interface of an application, which its author means to publish. It runs no code of its
callers.
"""

from collections.abc import Collection, Iterable
from typing import Any

from policies.cluster.exposure import SERVE_PORTS
from policies.documents.pointer import ROOT
from policies.documents.untyped import as_dict, as_str, dict_items
from policies.ray.workload import Workload

# KubeRay sets it on the pods that serve, while they run.
SERVE_LABEL = "ray.io/serve"
SERVE_SERVICE = ROOT / "spec" / "serveService"


def is_serve_alone(targets: Iterable[Any], ray_ports: Collection[int | str]) -> bool:
    """True if these target ports are those of Serve, and no other part of Ray listens there.

    A port by name proves nothing: the author of the pod chooses which port has the name. Other
    numbers prove nothing, either: workers choose theirs at random.
    """
    reached = set(targets)
    return bool(reached) and reached.issubset(SERVE_PORTS) and reached.isdisjoint(ray_ports)


def serve_targets(ray_service: Workload) -> list[Any]:
    """The target ports of the Serve service that KubeRay creates for a RayService.

    Source: `BuildServeService` (KubeRay 1.7).
    """
    head = ray_service.cluster.head.pod.ray_container if ray_service.cluster else None
    declared = [port for _, port in dict_items(head.raw.get("ports") if head else None)]
    ports = {as_str(port.get("name")): port.get("containerPort") for port in declared}
    serving = {name: port for name, port in ports.items() if _is_serving(name)}
    if not declared:
        serving = {"serve": SERVE_PORTS[0]}
    spec = as_dict(as_dict(SERVE_SERVICE.read(ray_service.document)).get("spec"))
    written: dict[str, Any] = {}
    for _, port in dict_items(spec.get("ports")):
        written[as_str(port.get("name"))] = port.get("targetPort") or port.get("port")
    if not serving:
        return list(written.values())
    return [written.get(name, port) for name, port in serving.items()]


def _is_serving(name: str) -> bool:
    return name == "serve" or name.startswith("serve-")
