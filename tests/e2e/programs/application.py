"""Deploys an application of Ray Serve that stays there: `application.py NODES`.

It answers on port 8000 of each node: Ray Serve listens where it has a replica.
"""

import sys

import ray
from ray import serve


# No CPU, because the head of a KubeRay cluster offers none and workers may be busy.
@serve.deployment(ray_actor_options={"num_cpus": 0}, max_replicas_per_node=1)
class Application:
    async def __call__(self, request: object) -> str:
        return "served by Ray"


if __name__ == "__main__":
    ray.init(address="auto", log_to_driver=False, logging_level="WARNING")
    serve.start(proxy_location="EveryNode", http_options={"host": "0.0.0.0", "port": 8000})
    nodes = int(sys.argv[1])
    serve.run(Application.options(num_replicas=nodes).bind(), name="application")
    print("ALL OK")
