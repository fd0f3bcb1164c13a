"""Which ports the pods of a Ray cluster listen on, and which of them are Ray's own.

Ray's own ports run code for those who reach them: GCS, dashboard, Ray Client, agents, and the ports
of raylets and workers, most of which Ray chooses at random. Ray Serve, metrics and the ports of an
author's own containers are for others.
Sources: Ray 2.60 `scripts.py` (`ray start`), `ray_constants.py`; KubeRay 1.7 `utils/constant.go`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from policies.documents.untyped import as_dict, dict_items
from policies.network.ports import Ports, merged, missing_from
from policies.ray.pod import PodRole
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Group, Workload

DASHBOARD_PORT = 8265
SERVE_PORT = 8000
# The port on which each node serves its metrics: KubeRay sets `metrics-export-port` to 8080.
METRICS_PORT = 8080
# Where the dashboard and the autoscaler of the head serve their metrics.
_HEAD_METRICS = (44217, 44227)
_DEFAULTS = {
    "port": 6379,
    "dashboard-port": DASHBOARD_PORT,
    "ray-client-server-port": 10001,
    "dashboard-agent-listen-port": 52365,
}
# Those that a worker has, too.
_EVERYWHERE = ("dashboard-agent-listen-port",)
# Ray chooses these at random unless the cluster sets them.
_RANDOM = (
    "dashboard-agent-grpc-port",
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
)
_WORKER_PORTS = range(10002, 20000)
# Linux' default `net.ipv4.ip_local_port_range`.
_EPHEMERAL = range(32768, 61000)
_PORT = re.compile(r"[0-9]{1,5}")


def head_port(group: Group, parameter: str) -> int:
    """The port of the head that `ray start --PARAMETER` moves, or Ray's default."""
    return _number(group.start_params.get(parameter)) or _DEFAULTS[parameter]


def own_ports(group: Group) -> Ports:
    """The ports of Ray itself in any pod of the cluster that this group configures."""
    return _ports(group, _DEFAULTS)


def listening_ports(group: Group) -> Ports:
    """Those of Ray's own ports on which the pods of this group listen, as far as they are fixed."""
    return _ports(group, _DEFAULTS if group.role is PodRole.HEAD else _EVERYWHERE)


def _ports(group: Group, parameters: Iterable[str]) -> Ports:
    ports = [_span(head_port(group, parameter)) for parameter in parameters]
    for parameter in _RANDOM:
        number = _number(group.start_params.get(parameter))
        if number:
            ports.append(_span(number))
    first = _number(group.start_params.get("min-worker-port")) or _WORKER_PORTS.start
    last = _number(group.start_params.get("max-worker-port")) or _WORKER_PORTS.stop - 1
    return merged([*ports, range(first, last + 1)])


def random_ports(group: Group) -> Ports:
    """The range from which Linux gives Ray the ports that it chooses at random; empty if none."""
    chosen = [_number(group.start_params.get(parameter)) for parameter in _RANDOM]
    return () if all(chosen) else (_EPHEMERAL,)


def public_ports(workload: Workload, group: Group) -> Ports:
    """The ports of a group that are not Ray's own: Serve, metrics, and what containers declare."""
    metrics = _number(group.start_params.get("metrics-export-port")) or METRICS_PORT
    others = (*_HEAD_METRICS, *serve_ports(workload))
    ports = [_span(number) for number in (metrics, *others) if number]
    for container in group.pod.containers:
        for _, port in dict_items(container.raw.get("ports")):
            number = port.get("containerPort")
            if isinstance(number, int) and port.get("protocol") in (None, "", "TCP"):
                ports.append(_span(number))
    return missing_from(own_ports(group), merged(ports))


def serve_ports(workload: Workload) -> Iterator[int]:
    """The ports of Ray Serve: the default, and those that a Serve config names (0: none)."""
    for environment in runtime_environments(workload):
        # The first part is the document itself.
        config = environment.parts[0] if environment.parts else {}
        if environment.field == "serveConfigV2":
            yield _number(as_dict(config.get("http_options")).get("port"))
            yield _number(as_dict(config.get("grpc_options")).get("port"))
    yield SERVE_PORT


def _span(number: int) -> range:
    return range(number, number + 1)


def _number(value: Any) -> int:
    """A port as a number or a text; 0 if `value` is not a port."""
    text = str(value) if isinstance(value, int | str) else ""
    number = int(text) if _PORT.fullmatch(text) else 0
    return number if number < 65536 else 0
