"""`raywarden ca`, as an operator calls it, against an API server on a real socket."""

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
    """A pod with our init container, which started a minute after its cluster was made."""
    ours = {"/spec/initContainers": [{"name": "raywarden-enroll"}]}
    return changed(document, {"/metadata/creationTimestamp": "2026-11-20T08:01:00Z", **ours})


def furnish(fake: FakeKubeApi) -> None:
    """A cluster with a seed, a RayCluster of two pods, and a pod of Ray without KubeRay."""
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
    """Run `raywarden ca`; gives the exit code and everything it said, which is never a secret."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "ca", *arguments),
            *("--kubeconfig", str(kubeconfig_for(fake, Path(folder)))),
            env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", "COLUMNS": "200"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate(answer.encode()))[0].decode()
    assert leaked(said) is None
    for secret in (
        live_objects.GENERATION.secret.hex(),
        base64.b64encode(live_objects.GENERATION.secret).decode(),
    ):
        assert secret not in said
    assert process.returncode is not None
    return process.returncode, said


def entries(fake: FakeKubeApi) -> list[str]:
    return sorted(fake.objects[SECRET]["data"])


@conversation
async def test_the_list_is_for_people_and_for_programs(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    code, said = await ca(fake, "list")
    assert code == 0
    assert f"{OLD}  signs for 2 clusters, and for our own ports" in said
    assert "team-a/demo    20261101T000000Z  2     2028-11-19" in said
    code, said = await ca(fake, "list", "--output", "json")
    found = json.loads(said)
    assert [entry["name"] for entry in found["clusters"]] == ["demo", "django"]
    assert found["generations"] == [{"name": OLD, "state": "signs", "clusters": 2}]


@conversation
async def test_a_rotation_adds_and_touches_nothing_else(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    before = fake.objects[SECRET]["data"][OLD]
    code, said = await ca(fake, "rotate")
    assert code == 0 and "clusters created in 5 minutes and later will use it" in said
    first, second = entries(fake)
    assert first == OLD and fake.objects[SECRET]["data"][OLD] == before
    assert len(base64.b64decode(fake.objects[SECRET]["data"][second])) == 32
    assert fake.objects[SECRET]["metadata"]["annotations"] == {"kept": "yes"}


@conversation
async def test_who_would_be_cut_off_is_named_and_asked_about(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    furnish(fake)
    newer = {"20261120T080030Z": base64.b64encode(live_objects.secret(3)).decode()}
    fake.put(
        "secrets", changed(fake.objects[SECRET], {"/data": fake.objects[SECRET]["data"] | newer})
    )
    code, said = await ca(fake, "revoke", OLD, "--forget", answer="n\n")
    assert code == 1 and OLD in entries(fake)
    assert (
        "team-a/demo: 2 of 2 pods will be cut off from pods that start later" in said
        and "Go on? [y/N]" in said
    )
    code, said = await ca(fake, "revoke", OLD)
    assert code == 0, "pods that know the newer one are not cut off by a retirement"
    assert any(entry.startswith(f"{OLD}.retired.") for entry in entries(fake))
    assert "2 of 2 pods of a CA that signs no more" in said
    code, said = await ca(fake, "revoke", OLD, "--forget", "--yes")
    assert (code, entries(fake)) == (0, list(newer))


@conversation
async def test_a_clusters_cas_are_shown_as_pem(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    code, said = await ca(fake, "show", "team-a/demo")
    assert code == 0
    (certificate,) = x509.load_pem_x509_certificates(said.encode())
    assert certificate.subject.rfc4514_string() == "CN=demo,OU=team-a,O=RayWarden"
    assert await ca(fake, "show", "demo") == (2, "raywarden: demo is not NAMESPACE/NAME\n")
    assert await ca(fake, "show", "nowhere/demo") == (
        2,
        "raywarden: there is no namespace nowhere\n",
    )


@conversation
async def test_whom_the_api_server_trusts_can_be_written_by_whoever_may(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    furnish(fake)
    code, said = await ca(fake, "publish")
    assert (code, "raywarden does not exist in mutatingwebhookconfigurations" in said) == (2, True)
    for kind in ("mutating", "validating"):
        fake.put(f"{kind}webhookconfigurations", configuration(kind))
    bundles = {kind: bundle(fake, kind) for kind in ("mutating", "validating")}
    for spoilt in ("", "Z2FyYmFnZQ=="):
        for kind in bundles:
            broken = {"/webhooks/0/clientConfig/caBundle": spoilt}
            fake.put(f"{kind}webhookconfigurations", changed(configuration(kind), broken))
        assert await ca(fake, "publish") == (0, "the caBundle is written\n")
        assert {kind: bundle(fake, kind) for kind in bundles} == bundles
    assert await ca(fake, "publish") == (0, "the caBundle is as it should be\n")


def bundle(fake: FakeKubeApi, kind: str) -> str:
    (webhook,) = fake.objects[(f"{kind}webhookconfigurations", "", "raywarden")]["webhooks"]
    return str(webhook["clientConfig"]["caBundle"])


@conversation
async def test_what_cannot_be_done_is_said_in_a_line(fake: FakeKubeApi, api: KubeApi) -> None:
    assert await ca(fake, "list") == (
        2,
        "raywarden: there is no seed yet: the server makes one when it starts\n",
    )
    furnish(fake)
    assert await ca(fake, "revoke", "2026") == (
        2,
        f"raywarden: there is no such generation; there are {OLD}\n",
    )
    fake.forbidden.add(("list", "rayclusters"))
    code, said = await ca(fake, "list")
    assert code == 2 and "may not list rayclusters.ray.io: grant it with RBAC" in said
