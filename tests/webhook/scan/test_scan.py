"""A scan judges what is stored in a cluster, with the rights of the caller."""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from policies.config import Policy
from tests.support import factory
from tests.support.factory import changed
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.kube_conversation import conversation
from tests.webhook.check import healthy_installation
from tests.webhook.scan.scanned import fill, findings_of, live, put_pod, scan, subjects
from webhook.kube.api import KubeApi
from webhook.ports import UnavailableError
from webhook.review.finding import Level

WORKER = "Pod team-a/demo-small-worker-abcde"


@conversation
async def test_stored_objects_are_judged_as_they_are(fake: FakeKubeApi, api: KubeApi) -> None:
    """Admission would have completed this cluster, but nothing of it is stored."""
    fill(fake)
    results = await scan(api)
    assert "tls-on" in findings_of(results, "RayCluster team-a/demo")
    (cluster,) = [each for each in results.objects if each.subject.kind == "RayCluster"]
    assert not cluster.allowed and not cluster.mutations
    assert (cluster.api_version, cluster.uid) == ("ray.io/v1", "uid-RayCluster-demo")
    assert {str(finding.place) for finding in cluster.findings} == {"RayCluster team-a/demo"}


@conversation
async def test_findings_of_an_owner_are_not_repeated(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    first = await scan(api)
    cluster = [
        (finding.rule, finding.message)
        for finding in first.findings
        if finding.subject.kind == "RayCluster"
    ]
    pods = [
        (finding.rule, finding.message)
        for finding in first.findings
        if finding.subject.kind == "Pod"
    ]
    assert cluster and pods and not set(cluster) & set(pods)
    fake.delete("rayclusters", "team-a", "demo")
    alone = [(finding.rule, finding.message) for finding in (await scan(api)).findings]
    assert set(cluster) & set(alone), "without its owner, a pod has these findings itself"


@conversation
async def test_only_what_runs_is_judged(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    cluster = fake.objects["rayclusters", "team-a", "demo"]
    ended = {"/status/phase": "Succeeded"}, {"/metadata/deletionTimestamp": "2026-11-20T09:00:00Z"}
    for index, changes in enumerate(ended):
        put_pod(fake, changed(factory.worker_pod(), changes), cluster, f"ended-{index}")
    results = await scan(api)
    assert WORKER in subjects(results)
    assert not [subject for subject in subjects(results) if "ended" in subject]


@conversation
async def test_controllers_are_the_authors_of_what_they_own(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    rules = findings_of(await scan(api), WORKER)
    assert "operator-made-pods" not in rules
    forged = factory.worker_pod()
    forged["metadata"] |= {"name": "forged", "ownerReferences": []}
    fake.put("pods", live(forged))
    assert "operator-made-pods" in findings_of(await scan(api), "Pod team-a/forged")


@conversation
async def test_resources_that_may_not_be_listed_are_unknown_and_named(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    fake.paths["/apis/rbac.authorization.k8s.io/v1"] = {
        "resources": [{"name": "clusterroles"}, {"name": "clusterrolebindings"}]
    }
    fake.paths["/apis/networking.k8s.io/v1"] = {"resources": [{"name": "ingresses"}]}
    fake.forbidden = {("list", name) for name in ("clusterroles", "ingresses", "httproutes")}
    fake.paths["/apis/gateway.networking.k8s.io/v1"] = None
    fake.paths["/apis/gateway.networking.k8s.io/v1beta1"] = None
    results = await scan(api)
    notes = "\n".join(results.notes)
    assert "ingresses were not scanned: you may not list ingresses.networking.k8s.io" in notes
    assert "rules that need clusterroles.rbac.authorization.k8s.io cannot be sure: you may" in notes
    assert "httproutes" not in notes, "they do not exist"
    # It is not known who runs KubeRay, but that is no reason to refuse its pods.
    pod = [finding for finding in results.findings if str(finding.subject) == WORKER]
    assert not [finding for finding in pod if finding.rule == "operator-made-pods"]


@conversation
async def test_without_any_rights_there_is_no_result(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    plurals = {plural for plural, _, _ in fake.objects} | {"rayjobs", "rayservices", "raycronjobs"}
    fake.forbidden = {("list", plural) for plural in plurals}
    fake.paths |= {
        "/api/v1": {"resources": [{"name": "pods"}]},
        "/apis/ray.io/v1": {
            "resources": [
                {"name": name} for name in ("rayclusters", "rayjobs", "rayservices", "raycronjobs")
            ]
        },
    }
    with pytest.raises(UnavailableError, match="nothing of Ray can be read"):
        await scan(api)


@conversation
async def test_a_scan_of_one_namespace_reads_no_other(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    other = changed(factory.ray_cluster(), {"/metadata/namespace": "team-b"})
    fake.put("rayclusters", live(other))
    results = await scan(api, "team-a")
    assert {each.subject.namespace for each in results.objects} == {"team-a"}
    paths = {request.raw_path for request in fake.requests("GET", "rayclusters")}
    assert paths == {"/apis/ray.io/v1/namespaces/team-a/rayclusters"}


@conversation
async def test_a_list_that_expires_is_started_again_without_repeating_objects(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    for index in range(4):
        fake.put(
            "rayclusters", live(changed(factory.ray_cluster(), {"/metadata/name": f"c{index}"}))
        )
    fake.page_size = 2
    expected = subjects(await scan(api))
    serve, expirations = fake.serve, [True]

    async def expire_once(request: web.BaseRequest) -> web.StreamResponse:
        # The state is read first; later requests are those of the pass that judges.
        is_judging = len(fake.requests("GET", "rayclusters")) > before + 4
        if expirations and is_judging and "/rayclusters?" in request.raw_path:
            expirations.pop()
            return await fails(410)(request)
        return await serve(request)

    before = len(fake.requests("GET", "rayclusters"))
    fake.serve = expire_once  # type: ignore[method-assign]  # the fake of this test alone
    results = await scan(api)
    assert not expirations
    assert subjects(results) == expected
    assert len(set(expected)) == len(expected)


@conversation
async def test_a_resource_that_fails_does_not_end_the_scan(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    serve = fake.serve

    async def break_services(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith("/api/v1/services"):
            return await fails(500)(request)
        return await serve(request)

    fake.serve = break_services  # type: ignore[method-assign]  # the fake of this test alone
    results = await scan(api)
    assert [broken.source for broken in results.unreadable] == ["services"]
    assert "RayCluster team-a/demo" in subjects(results)


@conversation
async def test_objects_that_come_and_go_between_the_passes_do_no_harm(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    serve = fake.serve

    async def change_everything(request: web.BaseRequest) -> web.StreamResponse:
        if "/jobs" in request.raw_path and ("namespaces", "", "team-a") in fake.objects:
            fake.delete("namespaces", "", "team-a")
            fake.delete("services", "team-a", "demo-head-svc")
            new = changed(factory.ray_cluster(), {"/metadata/name": "new"})
            put_pod(fake, factory.worker_pod(), live(new), "new-pod")
        return await serve(request)

    fake.serve = change_everything  # type: ignore[method-assign]  # the fake of this test alone
    assert "Pod team-a/new-pod" in subjects(await scan(api))


@conversation
async def test_the_policy_of_the_server_is_used_and_its_absence_is_said(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    assert "RayWarden is not installed in raywarden-system" in (await scan(api)).notes[0]
    healthy_installation.install(fake)
    fill(fake)
    policy = "apiVersion: raywarden.io/v1alpha1\nkind: Policy\nrules: {tls-on: {mode: off}}\n"
    data = {"policy.yaml": policy}
    metadata = {"name": "raywarden-policy", "namespace": "raywarden-system"}
    fake.put("configmaps", {"metadata": metadata, "data": data})
    results = await scan(api)
    assert not [note for note in results.notes if "policy" in note]
    assert "tls-on" not in {finding.rule for finding in results.findings}
    chosen = await scan(api, policy=Policy.parse(None))
    assert "tls-on" in {finding.rule for finding in chosen.findings}


@conversation
async def test_namespaces_that_webhooks_skip_are_found(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.install(fake)
    fill(fake)
    assert "webhook-coverage" not in {finding.rule for finding in (await scan(api)).findings}
    hidden = {"/metadata/namespace": "kube-system"}
    fake.put("rayclusters", live(changed(factory.ray_cluster(), hidden)))
    found = [each for each in (await scan(api)).findings if each.rule == "webhook-coverage"]
    assert {str(finding.subject) for finding in found} == {"Namespace kube-system"}
    assert {finding.level for finding in found} == {Level.WARNING}
    assert "no validating webhook is called for it" in found[-1].message


@conversation
async def test_endpoints_of_kubernetes_are_not_taken_for_manual_ones(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    metadata: dict[str, Any] = {"name": "demo-head-svc", "namespace": "team-a"}
    ports = [{"port": 8265}]
    fake.put("endpoints", live({"metadata": metadata, "subsets": [{"ports": ports}]}))
    by_hand = {
        **metadata,
        "name": "hand",
        "labels": {"kubernetes.io/service-name": "demo-head-svc"},
    }
    fake.put("endpointslices", live({"metadata": by_hand, "ports": ports}))
    found = subjects(await scan(api))
    assert "EndpointSlice team-a/hand" in found
    assert "Endpoints team-a/demo-head-svc" not in found


@conversation
async def test_a_scan_can_be_cancelled(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)

    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    fake.faults += [never]
    task = asyncio.create_task(scan(api))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
