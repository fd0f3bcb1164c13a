"""What KubeRay knows, from the API server's OpenAPI documents."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from policies.ray.operator import KubeRayOperator
from tests.support.fake_kube_api import FakeKubeApi, answers_with, fails
from tests.support.kube_conversation import conversation, problem, until
from webhook.kube.api import KubeApi
from webhook.kube.kuberay import KubeRayDiscovery
from webhook.kube.live import KubeLive

INDEX, GROUP = "/openapi/v3", "/openapi/v3/apis/ray.io/v1"
KIND = {"group": "ray.io", "version": "v1", "kind": "RayCluster"}
OPTIONS = {"mode": {"type": "string"}}
KUBERNETES = {**OPTIONS, "enableK8sTokenAuth": {"type": "boolean"}}


def openapi(spec: Any, kind: Any = KIND) -> dict[str, Any]:
    schema = {"properties": {"spec": spec}, "x-kubernetes-group-version-kind": [kind]}
    other = {"properties": {}, "x-kubernetes-group-version-kind": [{**KIND, "kind": "RayJob"}]}
    return {"components": {"schemas": {"io.ray.v1.RayJob": other, "io.ray.v1.RayCluster": schema}}}


def spec_with(options: Any = None, **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"rayVersion": {"type": "string"}, **more}
    return {"properties": fields if options is None else {**fields, "authOptions": options}}


@pytest.mark.parametrize(
    ("document", "known"),
    [
        (openapi(spec_with()), KubeRayOperator.of_release("1.5.0")),
        (openapi(spec_with({"properties": OPTIONS})), KubeRayOperator.of_release("1.5.1")),
        (openapi(spec_with({"properties": KUBERNETES})), KubeRayOperator.of_release("1.6")),
        (
            openapi(spec_with({"properties": KUBERNETES}, networkPolicy={})),
            KubeRayOperator.of_release("1.7"),
        ),
        (openapi({"x-kubernetes-preserve-unknown-fields": True}), KubeRayOperator()),
        (openapi(spec_with(), {**KIND, "version": "v1alpha1"}), KubeRayOperator()),
        ({"components": {"schemas": {"a": 5, "b": {"x-kubernetes-group-version-kind": 5}}}}, None),
        ({"components": []}, None),
        ({}, None),
    ],
)
def test_the_fields_of_the_definition(document: Any, known: KubeRayOperator | None) -> None:
    """The definitions do not show the feature gates."""
    expected = replace(known or KubeRayOperator(), gates=None)
    assert KubeRayOperator.of_openapi(document) == expected


def serve(fake: FakeKubeApi, digest: str, document: Any) -> None:
    address = f"{GROUP}?hash={digest}"
    fake.paths[INDEX] = {"paths": {"apis/ray.io/v1": {"serverRelativeURL": address}}}
    fake.paths[GROUP] = document


@conversation
async def test_the_document_is_read_only_when_it_has_changed(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    discovery = KubeRayDiscovery(api)
    serve(fake, "A", openapi(spec_with()))
    await discovery.update()
    await discovery.update()
    assert discovery.operator.tokens is False
    assert [request.raw_path for request in fake.seen] == [INDEX, GROUP, INDEX]
    serve(fake, "B", openapi(spec_with({"properties": OPTIONS})))
    await discovery.update()
    assert discovery.operator.tokens is True


@conversation
async def test_the_last_answer_stays_while_there_is_none(fake: FakeKubeApi, api: KubeApi) -> None:
    discovery = KubeRayDiscovery(api)
    serve(fake, "A", openapi(spec_with()))
    await discovery.update()
    fake.forbidden = {("get", INDEX)}
    await problem(discovery.update())
    assert discovery.operator.tokens is False
    fake.forbidden = set()
    fake.paths[INDEX] = {"paths": {}}
    await discovery.update()
    assert discovery.operator == KubeRayOperator(), "KubeRay was removed"


@conversation
async def test_rules_see_it_and_errors_do_not_end_it(fake: FakeKubeApi, api: KubeApi) -> None:
    serve(fake, "A", openapi(spec_with()))
    live, impatient = KubeLive(api), KubeRayDiscovery(api, period_seconds=0.01)
    assert live.state_of("ray").kuberay == KubeRayOperator()
    fake.faults = [fails(403, "forbidden"), answers_with(b"[]"), answers_with(b"{")]
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(impatient.run())]
        await until(lambda: impatient.operator.tokens is False)
        tasks.append(group.create_task(live.follow_kuberay()))
        await until(lambda: live.state_of("ray").kuberay.tokens is False)
        for task in tasks:
            task.cancel()
