"""Ray's own ports, and the parameters of `ray start` that move them.

Anyone who can reach one of them can run code. Sources: Ray 2.60 `scripts.py` (`ray start`),
`ray_constants.py`.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from policies.network.ports import Ports, merged
from policies.ray.pod import PodRole
from policies.ray.workload import Group

DASHBOARD_PORT = 8265
# Ports with a fixed default: GCS, Ray Client, dashboard, dashboard agent.
FIXED_PORTS = {
    "port": 6379,
    "ray-client-server-port": 10001,
    "dashboard-port": DASHBOARD_PORT,
    "dashboard-agent-listen-port": 52365,
}
# Those that a worker has, too.
_EVERYWHERE = ("dashboard-agent-listen-port",)
# Ray chooses these at random unless the cluster sets them.
RANDOM_PORTS = (
    "dashboard-agent-grpc-port",
    "node-manager-port",
    "object-manager-port",
    "runtime-env-agent-port",
)
# Only some versions open it.
_SOMETIMES = ("dashboard-grpc-port",)
_WORKER_PORTS = ("min-worker-port", "max-worker-port")
_LISTED = "worker-port-list"
# Every parameter whose value is one port. Metrics and Ray Serve are missing: no code runs through
# them.
PORT_PARAMETERS = (*FIXED_PORTS, *RANDOM_PORTS, *_SOMETIMES, *_WORKER_PORTS)
_DEFAULT_WORKER_PORTS = range(10002, 20000)
_PORT = re.compile(r"[0-9]{1,5}")
_IN_LIST = re.compile(r"\b[0-9]{1,5}\b")
_LONGEST_LIST = 4096


def head_port(group: Group, parameter: str) -> int:
    """The port of the head that `ray start --PARAMETER` moves, or Ray's default."""
    return moved_port(group, parameter) or FIXED_PORTS[parameter]


def moved_port(group: Group, parameter: str) -> int:
    """The port that a parameter of the group sets; 0 if it sets none."""
    value = group.start_params.get(parameter)
    return 0 if value is None else number_of(value)


def moved_ports(group: Group) -> set[int]:
    """The ports that the parameters of a group set."""
    params = group.start_params
    return {number_of(params[name]) for name in PORT_PARAMETERS if name in params} - {0}


def worker_ports(group: Group) -> Ports:
    """The ports that the processes of Ray's workers listen on."""
    params = group.start_params
    first = moved_port(group, _WORKER_PORTS[0]) or _DEFAULT_WORKER_PORTS.start
    last = moved_port(group, _WORKER_PORTS[1]) or _DEFAULT_WORKER_PORTS.stop - 1
    listed = _IN_LIST.findall(str(params.get(_LISTED, ""))[:_LONGEST_LIST])
    numbers = [number for number in map(number_of, listed) if number]
    return merged([range(first, last + 1), *map(span_of, numbers)])


def own_ports(group: Group) -> Ports:
    """Ray's own ports in any pod of the cluster that this group configures.

    The bounds of the workers' ports are among them even in the wrong order, as for the rules.
    """
    return merged([*_ports(group, FIXED_PORTS), *map(span_of, moved_ports(group))])


def ports_on(group: Group) -> Ports:
    """Ray's own ports that the pods of this group listen on, as far as they are fixed."""
    return _ports(group, FIXED_PORTS if group.role is PodRole.HEAD else _EVERYWHERE)


def _ports(group: Group, fixed: Iterable[str]) -> Ports:
    ports = [span_of(head_port(group, parameter)) for parameter in fixed]
    return merged([*ports, *_chosen(group), *worker_ports(group)])


def _chosen(group: Group) -> Iterator[range]:
    for parameter in (*RANDOM_PORTS, *_SOMETIMES):
        number = moved_port(group, parameter)
        if number:
            yield span_of(number)


def span_of(number: int) -> range:
    """The range of one port."""
    return range(number, number + 1)


def number_of(value: Any) -> int:
    """A port as a number or a text; 0 if `value` is not a port."""
    text = str(value) if isinstance(value, int | str) else ""
    number = int(text) if _PORT.fullmatch(text) else 0
    return number if number < 65536 else 0
