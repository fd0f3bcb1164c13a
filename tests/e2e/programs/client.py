"""Runs a task by Ray Client: `client.py ADDRESS:PORT [stay]`.

TLS is configured by the environment. Ends with 0 if a task ran, and with 3 if there was no
connection. With `stay`, it keeps the connection until its input ends.
"""

import sys

import ray
from ray.util.client import ray as client

_REFUSED = 3


def task() -> str:
    """The address of the node that runs this."""
    return str(ray.util.get_node_ip_address())


if __name__ == "__main__":
    try:
        client.connect(sys.argv[1], connection_retries=1)
    except (ConnectionError, RuntimeError) as error:
        print("refused:", error)
        sys.exit(_REFUSED)
    # num_cpus=0, because the head of a KubeRay cluster offers no CPUs.
    print("a task ran on", ray.get(ray.remote(num_cpus=0)(task).remote(), timeout=60), flush=True)
    if "stay" in sys.argv:
        sys.stdin.read()
    client.disconnect()
