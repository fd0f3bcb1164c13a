"""The EndpointSlices in RayWarden's cache: those that Kubernetes' controller did not write."""

from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation, following, until
from webhook.kube.api import KubeApi

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


@conversation
async def test_endpoint_slices_of_others_than_the_controller_are_known(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    def put(name: str, manager: str, port: int) -> None:
        labels = {"kubernetes.io/service-name": "s", MANAGED_BY: manager}
        metadata = {"name": name, "namespace": "ray", "labels": labels}
        fake.put("endpointslices", {"metadata": metadata, "ports": [{"port": port}]})

    put("by-hand", "jane", 9999)
    put("by-controller", "endpointslice-controller.k8s.io", 80)
    async with following(api) as live:

        def known() -> dict[str, list[int]]:
            endpoints = live.state_of("ray").endpoints or {}
            return {name: sorted(slice.ports) for name, slice in endpoints.items()}

        assert known() == {"by-hand": [9999]}
        await until(lambda: bool(fake.watches("endpointslices")))
        put("mirrored", "endpointslicemirroring-controller.k8s.io", 6379)
        await until(lambda: known() == {"by-hand": [9999], "mirrored": [6379]})
        put("by-hand", "endpointslice-controller.k8s.io", 9999)
        await until(lambda: known() == {"mirrored": [6379]})
