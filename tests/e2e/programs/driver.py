"""A user's driver, run in the head pod: `driver.py nodes`, `driver.py everything A B`, `driver.py pinned A`.

A and B are addresses of workers. It prints a line for each thing that works, and fails at the first that does not.
"""

import select
import sys
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

_PATIENCE = 120


def on(address: str) -> Any:
    """Options that pin a task or an actor to the node of this address."""
    (node,) = [
        node["NodeID"]
        for node in ray.nodes()
        if node["Alive"] and node["NodeManagerAddress"] == address
    ]
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=False)}


@ray.remote
def where() -> str:
    """The address of the node that runs this."""
    return ray.util.get_node_ip_address()


@ray.remote
def made(size: int) -> bytes:
    return bytes(size)


@ray.remote
def hop(came: list[str], value: bytes) -> tuple[list[str], bytes]:
    return [*came, ray.util.get_node_ip_address()], value


@ray.remote
class Peer:
    def address(self) -> str:
        return ray.util.get_node_ip_address()

    def ask(self, other: Any) -> str:
        return ray.get(other.address.remote(), timeout=_PATIENCE)


def pinned(*addresses: str) -> None:
    """A task on each of these nodes."""
    for address in addresses:
        found = ray.get(where.options(**on(address)).remote(), timeout=_PATIENCE)
        assert found == address, (found, address)
        print(f"head -> {address}: a task ran there")


def chain(one: str, other: str) -> None:
    """A value made on one worker, taken by the other, and back, too large to travel inside a message."""
    size = 5 * 2**20
    value = made.options(**on(one)).remote(size)
    came: Any = []
    for address in (other, one, other):
        came, value = hop.options(**on(address), num_returns=2).remote(came, value)
    assert ray.get(came, timeout=_PATIENCE) == [other, one, other]
    assert len(ray.get(value, timeout=_PATIENCE)) == size
    print(f"{one} -> {other} -> {one} -> {other} -> head: 5 MiB went all the way")


def actors(one: str, other: str) -> None:
    """Two actors, each of which asks the other."""
    first, second = (Peer.options(**on(address)).remote() for address in (one, other))
    assert ray.get(first.ask.remote(second), timeout=_PATIENCE) == other
    assert ray.get(second.ask.remote(first), timeout=_PATIENCE) == one
    print(f"actors on {one} and {other} called each other, both ways")


def everything(one: str, other: str) -> None:
    """Tasks, a chain of workers, actors both ways."""
    pinned(one, other)
    chain(one, other)
    actors(one, other)


def nodes() -> None:
    """Print what changes, as `alive ADDRESS SECONDS` by the monotonic clock, or `dead`; ends with its input."""
    known: dict[str, bool] = {}
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        seen = {
            node["NodeManagerAddress"]: node["Alive"]
            for node in sorted(ray.nodes(), key=lambda node: node["Alive"])
        }
        for address, alive in seen.items():
            if known.get(address) is not alive:
                print("alive" if alive else "dead", address, time.monotonic(), flush=True)
        known = seen


if __name__ == "__main__":
    ray.init(address="auto", log_to_driver=False, logging_level="WARNING")
    programs: dict[str, Callable[..., None]] = {
        "everything": everything,
        "pinned": pinned,
        "nodes": nodes,
    }
    programs[sys.argv[1]](*sys.argv[2:])
    print("ALL OK")
