"""Which port a probe dials, and whose certificates it expects there."""

from typing import Any

import pytest

from certs.seed import Seed
from policies.ray.pod import PodRole
from policies.ray.workload import Workload
from tests.support import live_objects
from tests.support.factory import changed
from tests.webhook.check import probing
from webhook.check.facts import Unavailable
from webhook.check.probe_cluster import GCS, ProbedCluster, seed_of
from webhook.kube.objects import opted_in_cluster_of, ray_cluster_of


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


def test_pods_without_kuberay_that_bring_certificates_have_no_member_here() -> None:
    annotated = {"/metadata/annotations": {"raywarden.io/tls-secret": "mine"}}
    pod = changed(live_objects.opted_in_pod("web-h", "head"), annotated)
    cluster = opted_in_cluster_of(live_objects.namespace(), "django")
    facts = probing.facts({}, pod)
    assert isinstance(seed_of(facts, ProbedCluster(cluster, None, [])), Seed)
    unavailable = seed_of(facts, ProbedCluster(cluster, None, [pod]))
    assert isinstance(unavailable, Unavailable) and "Secret mine" in unavailable.reason
