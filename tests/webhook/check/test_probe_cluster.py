"""Which port a probe dials: the author of a RayCluster may write anything there."""

from typing import Any

import pytest

from policies.ray.pod import PodRole
from policies.ray.workload import Workload
from tests.support import live_objects
from webhook.check.probe_cluster import GCS, ProbedCluster
from webhook.kube.objects import ray_cluster_of


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ("6380", 6380),
        (6380, 6380),
        ("06380", 6380),
        ("65535", 65535),
        ("65536", 6379),
        ("0", 6379),
        ("-1", 6379),
        ("", 6379),
        ("٦٣٨٠", 6379),
        ("0063790000", 6379),
        ("9" * 5_000, 6379),
        ([], 6379),
    ],
)
def test_a_text_that_is_not_a_port_leaves_the_default(written: Any, port: int) -> None:
    document = live_objects.ray_cluster(headGroupSpec={"rayStartParams": {"port": written}})
    workload = Workload("RayCluster", document)
    probed = ProbedCluster(ray_cluster_of(document), workload, ())
    assert probed.port(GCS, PodRole.HEAD) == port
