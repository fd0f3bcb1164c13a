"""A Ray driver for the head pod.

`driver.py nodes`, `driver.py everything A B`, `driver.py pinned A`, or `driver.py spread NUMBER`.

A and B are addresses of workers. It prints a line for each step that works, and fails at the first
that does not.
"""

import select
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_TIMEOUT_SECONDS = 120


def on(address: str) -> Any:
    """Options that pin a task or an actor to the node with this address."""
    (node,) = [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeManagerAddress"] == address
    ]
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


@ray.remote
def node_address() -> str:
    """The address of the node that runs this."""
    return ray.util.get_node_ip_address()


@ray.remote
def zeros(size: int) -> bytes:
    return bytes(size)


@ray.remote
def hop(visited: list[str], value: bytes) -> tuple[list[str], bytes]:
    return [*visited, ray.util.get_node_ip_address()], value


@ray.remote
class Peer:
    def address(self) -> str:
        return ray.util.get_node_ip_address()

    def ask(self, other: Any) -> str:
        return ray.get(other.address.remote(), timeout=_TIMEOUT_SECONDS)


def pinned(*addresses: str) -> None:
    """Run a task on each of these nodes."""
    for address in addresses:
        actual = ray.get(node_address.options(**on(address)).remote(), timeout=_TIMEOUT_SECONDS)
        assert actual == address, (actual, address)
        print(f"head -> {address}: a task ran there")


def chain(first: str, second: str) -> None:
    """Pass a value between two workers several times; it is too large for a single message."""
    size = 5 * 2**20
    value = zeros.options(**on(first)).remote(size)
    visited: Any = []
    for address in (second, first, second):
        visited, value = hop.options(**on(address), num_returns=2).remote(visited, value)
    assert ray.get(visited, timeout=_TIMEOUT_SECONDS) == [second, first, second]
    assert len(ray.get(value, timeout=_TIMEOUT_SECONDS)) == size
    print(f"{first} -> {second} -> {first} -> {second} -> head: 5 MiB arrived")


def actors(first: str, second: str) -> None:
    """Run two actors that call each other."""
    on_first, on_second = (Peer.options(**on(address)).remote() for address in (first, second))
    assert ray.get(on_first.ask.remote(on_second), timeout=_TIMEOUT_SECONDS) == second
    assert ray.get(on_second.ask.remote(on_first), timeout=_TIMEOUT_SECONDS) == first
    print(f"actors on {first} and {second} called each other")


def everything(first: str, second: str) -> None:
    """Run tasks, pass a value between workers, and let actors call each other."""
    pinned(first, second)
    chain(first, second)
    actors(first, second)


def spread(number: str) -> None:
    """Wait until as many workers exist, which the autoscaler must add."""
    group = placement_group([{"CPU": 1}] * int(number), strategy="STRICT_SPREAD")
    ray.get(group.ready(), timeout=_TIMEOUT_SECONDS)
    print(f"{number} workers have a part of a placement group")


def nodes() -> None:
    """Print `alive ADDRESS SECONDS` or `dead ADDRESS SECONDS` for each node that changes.

    The time is that of the monotonic clock. It ends when its input ends.
    """
    previous: dict[str, bool] = {}
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        # A replaced node may have the address of a dead one: sorted, the node that is alive counts.
        current = {
            node["NodeManagerAddress"]: node["Alive"]
            for node in sorted(ray.nodes(), key=lambda node: node["Alive"])
        }
        for address, alive in current.items():
            if previous.get(address) is not alive:
                print("alive" if alive else "dead", address, time.monotonic(), flush=True)
        previous = current


if __name__ == "__main__":
    ray.init(address="auto", log_to_driver=False, logging_level="WARNING")
    programs: dict[str, Callable[..., None]] = {
        "everything": everything,
        "pinned": pinned,
        "nodes": nodes,
        "spread": spread,
    }
    programs[sys.argv[1]](*sys.argv[2:])
    print("ALL OK")
