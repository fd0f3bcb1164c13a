"""Why `raywarden network-policy --adopt` leaves a RayCluster as it is."""

from tests.support.factory import changed, ray_cluster
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation
from tests.webhook.commands.test_network_policy_live import SERVER, install, named, run
from webhook.kube.api import KubeApi


@conversation
async def test_why_a_cluster_is_not_adopted(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, _, errors = await run(fake, "--adopt", "team-a/none")
    assert code == 2 and errors.startswith("raywarden: there is no RayCluster team-a/none")
    closed = changed(ray_cluster(), {"/spec/networkPolicy": {"mode": "DenyAll"}})
    fake.put("rayclusters", named("theirs", document=closed))
    code, _, errors = await run(fake, "--adopt", "team-a/theirs")
    assert code == 1 and "KubeRay writes its NetworkPolicies" in errors
    leaves_open = changed(ray_cluster(), {"/spec/networkPolicy": {"mode": "DenyAllEgress"}})
    fake.put("rayclusters", named("half", document=leaves_open))
    code, output, _ = await run(fake, "--adopt", "team-a/half", "--dry-run")
    assert code == 0 and output.startswith("RayCluster team-a/half: mode members")
    fake.forbidden = {("patch", "rayclusters")}
    code, _, errors = await run(fake, "--adopt", "team-a/demo")
    assert code == 2
    assert "you may not patch rayclusters.ray.io in namespace team-a: ask an" in errors
    off = {"name": "RAYWARDEN_WRITE_NETWORK_POLICIES", "value": "false"}
    pod = {"spec": {"containers": [{"name": "raywarden", "env": [off]}]}}
    fake.put("deployments", {"metadata": SERVER, "spec": {"template": pod}})
    code, _, errors = await run(fake, "--adopt", "team-a/demo")
    assert code == 2 and "this RayWarden writes no NetworkPolicies" in errors
    fake.delete("deployments", "raywarden-system", "raywarden")
    code, _, errors = await run(fake, "--adopt", "team-a/demo")
    assert code == 2
    assert errors.startswith("raywarden: RayWarden is not installed: ")
