"""`raywarden network-policy` on a running cluster, with the user's own rights."""

import yaml
from aiohttp import web

from tests.support.factory import Object, changed, ray_cluster, ray_job, ray_service
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.kube_conversation import conversation, run_command
from webhook.kube.api import KubeApi

ANNOTATION = "raywarden.io/network-isolation"


async def run(fake: FakeKubeApi, *arguments: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of the command."""
    return await run_command(fake, "network-policy", *arguments)


def named(name: str, namespace: str = "team-a", document: Object | None = None) -> Object:
    return changed(
        document or ray_cluster(), {"/metadata/name": name, "/metadata/namespace": namespace}
    )


SERVER = {"name": "raywarden", "namespace": "raywarden-system"}


def install(fake: FakeKubeApi) -> None:
    """KubeRay in the namespace `ops`, RayWarden, and the API server's own addresses."""
    role = {
        "metadata": {"name": "kuberay"},
        "rules": [
            {"apiGroups": ["ray.io"], "resources": ["rayclusters/status"], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]},
        ],
    }
    account = {"kind": "ServiceAccount", "name": "operator", "namespace": "ops"}
    binding = {
        "metadata": {"name": "kuberay"},
        "roleRef": {"kind": "ClusterRole", "name": "kuberay"},
        "subjects": [account],
    }
    fake.put("clusterroles", role)
    fake.put("clusterrolebindings", binding)
    metadata = {"name": "kubernetes", "namespace": "default"}
    spec = {"clusterIPs": ["10.96.0.1", "fd00::1"], "ports": [{"port": 443}]}
    fake.put("services", {"metadata": metadata, "spec": spec})
    endpoints = {"endpoints": [{"addresses": ["172.18.0.2"]}], "ports": [{"port": 6443}]}
    fake.put("endpointslices", {"metadata": metadata, **endpoints})
    fake.put("deployments", {"metadata": SERVER})
    fake.put("rayclusters", ray_cluster())


@conversation
async def test_a_running_cluster_is_closed_to_all_but_what_its_cluster_says(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    arguments = ("team-a/demo", "--mode", "deny-all", "--egress", "api-server")
    code, output, errors = await run(fake, *arguments)
    assert (code, errors) == (0, "")
    pods, head = yaml.safe_load_all(output)
    (operator, _) = head["spec"]["ingress"]
    (peer,) = operator["from"]
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "ops"}
    blocks = [
        (rule["to"][0]["ipBlock"]["cidr"], rule["ports"][0]["port"])
        for rule in pods["spec"]["egress"]
        if "ipBlock" in rule.get("to", [{}])[0]
    ]
    assert blocks == [("10.96.0.1/32", 443), ("172.18.0.2/32", 6443), ("fd00::1/128", 443)]


@conversation
async def test_what_may_not_be_read_is_assumed_and_said(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    fake.forbidden = {("list", "clusterroles"), ("get", "services")}
    code, output, errors = await run(fake, "team-a/demo", "--mode", "deny-all")
    assert code == 0
    assert "is assumed to run in kuberay-system" in errors
    assert "# Note: KubeRay's operator is assumed to run in kuberay-system" in output


@conversation
async def test_jobs_and_services_lead_to_their_clusters(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    job = {**ray_job(), "status": {"rayClusterName": "demo"}}
    fake.put("rayjobs", named("train", document=job))
    status = {
        "activeServiceStatus": {"rayClusterName": "demo"},
        "pendingServiceStatus": {"rayClusterName": "next"},
    }
    fake.put("rayservices", named("serve", document={**ray_service(), "status": status}))
    fake.put("rayclusters", named("next"))
    for name, expected in {"train": ["demo"], "serve": ["demo", "next"]}.items():
        code, output, errors = await run(fake, f"team-a/{name}")
        assert code == 0 and "KubeRay chooses another name for the next one" in errors
        names = [document["metadata"]["name"] for document in yaml.safe_load_all(output)]
        assert names == [f"ray-{part}-{each}" for each in expected for part in ("pods", "head")]


@conversation
async def test_a_job_without_a_cluster_is_printed_like_its_manifest(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    fake.put("rayjobs", named("train", document=ray_job()))
    code, output, _ = await run(fake, "team-a/train")
    assert code == 0
    assert next(yaml.safe_load_all(output))["metadata"]["name"] == "ray-job-pods-train"


@conversation
async def test_what_is_missing_or_forbidden_is_a_line(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, _, errors = await run(fake, "team-a/none")
    assert code == 2
    assert "no RayCluster, RayJob or RayService none in the namespace team-a" in errors
    fake.forbidden = {("get", "rayclusters")}
    code, _, errors = await run(fake, "team-a/demo")
    assert code == 2
    assert errors == (
        "raywarden: team-a/demo: you may not get rayclusters.ray.io in namespace team-a: ask an "
        "administrator for this permission\n"
    )


def annotations(fake: FakeKubeApi, name: str = "demo", namespace: str = "team-a") -> Object:
    stored: Object = fake.objects["rayclusters", namespace, name]["metadata"]
    return dict(stored.get("annotations", {}))


@conversation
async def test_a_dry_run_of_an_adoption_changes_nothing(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, output, errors = await run(fake, "--adopt", "team-a/demo", "--dry-run")
    assert (code, errors) == (0, "")
    assert output.startswith(
        "RayCluster team-a/demo: mode members\n"
        "  RayWarden will write the NetworkPolicy raywarden-pods-demo:\n"
        "    allows: the members of this cluster reach each other\n"
    )
    assert output.endswith("1 to adopt; nothing was changed\n")
    assert annotations(fake) == {} and not fake.requests("PATCH", "rayclusters")


@conversation
async def test_an_adopted_cluster_keeps_its_annotations(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    fake.put("rayclusters", changed(ray_cluster(), {"/metadata/annotations": {"a": "b"}}))
    code, output, _ = await run(fake, "--adopt", "team-a/demo")
    assert code == 0 and output.endswith("RayCluster team-a/demo: adopted\n")
    assert annotations(fake) == {"a": "b", ANNOTATION: "managed"}
    code, _, errors = await run(fake, "--adopt", "team-a/demo")
    assert code == 1
    assert f"skipped RayCluster team-a/demo: already has the annotation {ANNOTATION}" in errors


@conversation
async def test_a_pattern_needs_a_confirmation(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    fake.put("rayclusters", named("other", "team-b"))
    fake.put("rayclusters", named("second"))
    code, _, errors = await run(fake, "--adopt", "team-a/*")
    assert code == 1 and "confirm the pattern with --yes" in errors
    assert not fake.requests("PATCH", "rayclusters")
    code, output, _ = await run(fake, "--adopt", "team-a/*", "--yes")
    assert code == 0 and output.count(": adopted\n") == 2
    assert annotations(fake, "other", "team-b") == {}
    code, _, _ = await run(fake, "--adopt", "*/*", "--yes")
    assert code == 0 and annotations(fake, "other", "team-b") == {ANNOTATION: "managed"}


@conversation
async def test_a_change_in_between_is_no_error_and_no_choice_is_overwritten(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    await run(fake, "--adopt", "team-a/demo", "--dry-run")
    reads = len(fake.seen)
    for changes, expected in (
        ({"/status": {"state": "ready"}}, "managed"),
        ({"/metadata/annotations": {ANNOTATION: "deny-all"}}, "deny-all"),
    ):
        fake.put("rayclusters", ray_cluster())

        async def race(request: web.BaseRequest, changes: Object = changes) -> web.StreamResponse:
            fake.put("rayclusters", changed(ray_cluster(), changes))
            return await fake.serve(request)

        fake.faults = [*(fake.serve for _ in range(reads)), race]
        code, _, errors = await run(fake, "--adopt", "team-a/demo")
        assert (code, errors) == (0, "") and not fake.faults
        assert annotations(fake) == {ANNOTATION: expected}


@conversation
async def test_who_loses_access_is_said_before(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    selector = {"ray.io/cluster": "demo", "ray.io/node-type": "head"}
    ports = [{"name": "ui", "port": 80, "targetPort": 8265}, {"port": 8000}]

    def service(name: str, **spec: object) -> Object:
        metadata = {"name": name, "namespace": "team-a"}
        return {"metadata": metadata, "spec": {"selector": selector, "ports": ports, **spec}}

    fake.put("services", service("public", type="LoadBalancer"))
    fake.put("services", service("client", ports=[{"port": 10001}]))
    fake.put("services", service("serve", ports=[{"port": 8000}]))
    fake.put("services", service("others", selector={"ray.io/cluster": "x"}))
    owner = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "name": "demo", "controller": True}
    fake.put("services", changed(service("demo-head-svc"), {"/metadata/ownerReferences": [owner]}))
    backend = {"service": {"name": "public", "port": {"name": "ui"}}}
    rules = [{"http": {"paths": [{"path": "/", "backend": backend}]}}]
    metadata = {"name": "dashboard", "namespace": "team-a"}
    fake.put("ingresses", {"metadata": metadata, "spec": {"rules": rules}})
    fake.unknown |= {"httproutes", "routes"}
    _, output, _ = await run(fake, "--adopt", "team-a/demo", "--dry-run")
    lines = [line for line in output.splitlines() if line.startswith("  will be closed: ")]
    assert lines == [
        "  will be closed: Service client (inside the cluster) leads to 10001",
        "  will be closed: Service public leads to 8265",
        "  will be closed: Ingress dashboard leads to 8265",
    ]
    assert "name their clients in networkIsolation.allowFrom" in output


@conversation
async def test_the_policy_file_of_the_server_decides(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    container = {
        "name": "raywarden",
        "env": [{"name": "RAYWARDEN_POLICY_FILE", "value": "/etc/raywarden/policy.yaml"}],
        "volumeMounts": [{"name": "policy", "mountPath": "/etc/raywarden"}],
    }
    volumes = [{"name": "policy", "configMap": {"name": "raywarden-policy"}}]
    pod = {"spec": {"containers": [container], "volumes": volumes}}
    fake.put("deployments", {"metadata": SERVER, "spec": {"template": pod}})

    def choose(mode: str) -> None:
        head = "apiVersion: raywarden.io/v1alpha1\nkind: Policy\n"
        content = f"{head}networkIsolation: {{mode: {mode}}}\n"
        named = {"name": "raywarden-policy", "namespace": "raywarden-system"}
        fake.put("configmaps", {"metadata": named, "data": {"policy.yaml": content}})

    choose("deny-all")
    _, output, _ = await run(fake, "--adopt", "team-a/demo", "--dry-run")
    assert output.startswith("RayCluster team-a/demo: mode deny-all\n")
    choose('"off"')
    code, _, errors = await run(fake, "--adopt", "team-a/demo")
    assert code == 1 and "turns network isolation off in the namespace team-a" in errors
    fake.forbidden = {("get", "configmaps")}
    _, output, errors = await run(fake, "--adopt", "team-a/demo", "--dry-run")
    assert output.startswith("RayCluster team-a/demo: mode members\n")
    assert "the default policy is assumed" in errors


@conversation
async def test_an_api_server_that_fails_is_a_line(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.faults = [fails(400)]
    code, _, errors = await run(fake, "team-a/demo")
    assert code == 2
    assert errors.startswith("raywarden: team-a/demo: ") and errors.count("\n") == 1
