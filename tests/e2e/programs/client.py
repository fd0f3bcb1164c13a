"""A user of Ray Client: `client.py ADDRESS:PORT`, in plaintext or with the files of its environment.

Ends with 0 where a task ran, and with 3 where there was no connection.
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
    # No processors: the head of KubeRay's clusters has none to give.
    print("a task ran on", ray.get(ray.remote(num_cpus=0)(task).remote(), timeout=60))
    client.disconnect()
