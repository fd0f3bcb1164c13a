"""`raywarden ca` as an operator runs it, against an API server on a real socket."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509

from tests.support import live_objects
from tests.support.factory import Object, changed
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.kube_conversation import conversation, kubeconfig_for
from tests.support.secrecy import leaked
from tests.webhook.check.healthy_installation import configuration
from webhook.kube.api import KubeApi

SECRET = ("secrets", "raywarden-system", "raywarden-seed")
OLD = live_objects.GENERATION.name


def enrolled(document: Object) -> Object:
    """A pod with the init container, created a minute after its cluster."""
    init_containers = [{"name": "raywarden-enroll"}]
    return changed(
        document,
        {
            "/metadata/creationTimestamp": "2026-11-20T08:01:00Z",
            "/spec/initContainers": init_containers,
        },
    )


def install(fake: FakeKubeApi) -> None:
    """A cluster with a seed, a RayCluster with two pods, and a pod of Ray without KubeRay."""
    fake.put("namespaces", live_objects.namespace())
    fake.put("rayclusters", live_objects.ray_cluster())
    for pod in (live_objects.pod(), live_objects.pod("w", "worker"), live_objects.opted_in_pod()):
        fake.put("pods", enrolled(pod))
    data = {
        name: base64.b64encode(secret).decode()
        for name, secret in live_objects.SEED.entries.items()
    }
    metadata = {
        "name": "raywarden-seed",
        "namespace": "raywarden-system",
        "annotations": {"kept": "yes"},
    }
    fake.put("secrets", {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})


async def ca(fake: FakeKubeApi, *arguments: str, answer: str = "") -> tuple[int, str]:
    """The exit code and the output of `raywarden ca`; the output must not contain a secret."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "ca", *arguments),
            *("--kubeconfig", str(kubeconfig_for(fake, Path(folder)))),
            env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", "COLUMNS": "200"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate(answer.encode()))[0].decode()
    assert leaked(output) is None
    for secret in (
        live_objects.GENERATION.secret.hex(),
        base64.b64encode(live_objects.GENERATION.secret).decode(),
    ):
        assert secret not in output
    assert process.returncode is not None
    return process.returncode, output


def entries(fake: FakeKubeApi) -> list[str]:
    return sorted(fake.objects[SECRET]["data"])


@conversation
async def test_the_list_is_text_or_json(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, output = await ca(fake, "list")
    assert code == 0
    assert f"{OLD}  signs for 2 clusters and for RayWarden's own ports" in output
    assert "team-a/demo    20261101T000000Z  2     2028-11-19" in output
    code, output = await ca(fake, "list", "--output", "json")
    report = json.loads(output)
    assert [entry["name"] for entry in report["clusters"]] == ["demo", "django"]
    assert report["generations"] == [{"name": OLD, "state": "signs", "clusters": 2}]


@conversation
async def test_a_rotation_only_adds_a_generation(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    before = fake.objects[SECRET]["data"][OLD]
    code, output = await ca(fake, "rotate")
    assert code == 0 and "clusters created after 5 minutes use it" in output
    first, second = entries(fake)
    assert first == OLD and fake.objects[SECRET]["data"][OLD] == before
    assert len(base64.b64decode(fake.objects[SECRET]["data"][second])) == 32
    assert fake.objects[SECRET]["metadata"]["annotations"] == {"kept": "yes"}


@conversation
async def test_revoking_asks_before_it_cuts_off_pods(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    newer = {"20261120T080030Z": base64.b64encode(live_objects.secret(3)).decode()}
    fake.put(
        "secrets", changed(fake.objects[SECRET], {"/data": fake.objects[SECRET]["data"] | newer})
    )
    code, output = await ca(fake, "revoke", OLD, "--forget", answer="n\n")
    assert code == 1 and OLD in entries(fake)
    warning = "team-a/demo: 2 of 2 pods will not be able to connect to pods that start later"
    assert warning in output and "Continue? [y/N]" in output
    code, output = await ca(fake, "revoke", OLD)
    assert code == 0, "retiring a generation does not cut off pods that trust the newer one"
    assert any(entry.startswith(f"{OLD}.retired.") for entry in entries(fake))
    assert "2 of 2 pods still use a retired CA" in output
    code, output = await ca(fake, "revoke", OLD, "--forget", "--yes")
    assert (code, entries(fake)) == (0, list(newer))


@conversation
async def test_show_prints_the_cas_of_a_cluster(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, output = await ca(fake, "show", "team-a/demo")
    assert code == 0
    (certificate,) = x509.load_pem_x509_certificates(output.encode())
    assert certificate.subject.rfc4514_string() == "CN=demo,OU=team-a,O=RayWarden"
    code, output = await ca(fake, "show", "team-a/demo", "--format", "spiffe")
    (key,) = json.loads(output)["keys"]
    der = base64.b64decode(key["x5c"][0])
    assert code == 0 and x509.load_der_x509_certificate(der) == certificate
    assert await ca(fake, "show", "demo") == (2, "raywarden: demo is not NAMESPACE/NAME\n")
    assert await ca(fake, "show", "nowhere/demo") == (
        2,
        "raywarden: there is no namespace nowhere\n",
    )


@conversation
async def test_publish_writes_the_ca_bundle(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    code, output = await ca(fake, "publish")
    assert code == 2 and "raywarden does not exist in mutatingwebhookconfigurations" in output
    for kind in ("mutating", "validating"):
        fake.put(f"{kind}webhookconfigurations", configuration(kind))
    bundles = {kind: bundle(fake, kind) for kind in ("mutating", "validating")}
    for wrong in ("", "Z2FyYmFnZQ=="):
        for kind in bundles:
            broken = {"/webhooks/0/clientConfig/caBundle": wrong}
            fake.put(f"{kind}webhookconfigurations", changed(configuration(kind), broken))
        assert await ca(fake, "publish") == (0, "caBundle updated\n")
        assert {kind: bundle(fake, kind) for kind in bundles} == bundles
    assert await ca(fake, "publish") == (0, "caBundle is up to date\n")


def bundle(fake: FakeKubeApi, kind: str) -> str:
    (webhook,) = fake.objects[(f"{kind}webhookconfigurations", "", "raywarden")]["webhooks"]
    return str(webhook["clientConfig"]["caBundle"])


@conversation
async def test_errors_are_reported_in_one_line(fake: FakeKubeApi, api: KubeApi) -> None:
    assert await ca(fake, "list") == (
        2,
        "raywarden: there is no seed yet; the server creates it when it starts\n",
    )
    install(fake)
    assert await ca(fake, "revoke", "2026") == (
        2,
        f"raywarden: there is no such generation; the seed has {OLD}\n",
    )
    fake.forbidden.add(("list", "rayclusters"))
    code, output = await ca(fake, "list")
    assert code == 2 and "may not list rayclusters.ray.io: grant it with RBAC" in output
