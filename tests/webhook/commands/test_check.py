"""`raywarden check`, as an operator calls it, against an API server on a real socket."""

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from aiohttp import web

from tests.support import live_objects
from tests.support.factory import changed
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.grpc_servers import Files, grpc_server
from tests.support.kube_conversation import conversation, free_port, kubeconfig_for, talk
from tests.support.secrecy import leaked
from tests.webhook.check import healthy_installation
from tests.webhook.check.test_probe import NOW
from webhook.check.findings import Finding, Section, Status
from webhook.check.report import as_json, shown, worst
from webhook.kube.api import KubeApi
from webhook.kube.objects import ray_cluster_of

SECRETS = (
    live_objects.GENERATION.secret.hex(),
    base64.b64encode(live_objects.GENERATION.secret).decode(),
)


def furnish(fake: FakeKubeApi) -> None:
    """What is sound today: the command looks at the clock itself."""
    healthy_installation.furnish(fake)
    for one in (healthy_installation.pod(), healthy_installation.pod("w", "worker")):
        fake.put("pods", changed(one, {"/metadata/creationTimestamp": f"{NOW:%FT%TZ}"}))


async def check(fake: FakeKubeApi, *arguments: str) -> tuple[int, str]:
    """Run `raywarden check`; gives the exit code and everything it said, which is never a secret."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "check", *arguments),
            *("--kubeconfig", str(kubeconfig_for(fake, Path(folder)))),
            env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", "COLUMNS": "80"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said = (await process.communicate())[0].decode()
    assert leaked(said) is None and not any(secret in said for secret in SECRETS)
    assert process.returncode is not None
    return process.returncode, said


@conversation
async def test_what_is_sound_is_a_line_each_without_color(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    code, said = await check(fake, "--strict")
    assert code == 0
    assert said.startswith(
        "kubernetes-api\n--------------\n√ the API server answers, and is v1.36.2\n\npermissions\n"
    )
    assert said.endswith("\n√ 31 ok, 0 unknown, 0 warning, 0 failed\n")
    assert "\x1b" not in said


@conversation
async def test_hints_stand_below_and_codes_say_how_bad_it_is(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    furnish(fake)
    fake.put("deployments", healthy_installation.deployment(RAYWARDEN_ENROLL_IMAGE="raywarden:old"))
    code, said = await check(fake)
    assert code == 0
    assert (
        f"‼ the server is {healthy_installation.IMAGE}, and the init container of pods raywarden:old\n    kubectl -n rayw"
        in said
    )
    assert (
        f"RAYWARDEN_ENROLL_IMAGE={healthy_installation.IMAGE}; leave it where a mirror calls the same image so\n"
        in said
    )
    assert (await check(fake, "--strict"))[0] == 1
    fake.delete("secrets", healthy_installation.HOME, "raywarden-seed")
    code, said = await check(fake)
    assert code == 1 and "✗ there is no Secret raywarden-system/raywarden-seed" in said


@conversation
async def test_programs_get_json(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    fake.forbidden = {("get", "secrets")}
    code, said = await check(fake, "--output", "json")
    found = json.loads(said)
    assert code == 0 and (await check(fake, "--output", "json", "--strict"))[0] == 1
    assert found["status"] == "unknown" and found["counts"] == {
        "ok": 28,
        "unknown": 1,
        "warning": 0,
        "failed": 0,
    }
    titles = [section["title"] for section in found["sections"]]
    assert titles == [
        "kubernetes-api", "permissions", "installation", "webhook-configurations", "admission", "certificates",
        "kuberay", "coverage",
    ]  # fmt: skip
    (finding,) = found["sections"][5]["findings"]
    right = "get secrets in namespace raywarden-system"
    ask = "have an administrator grant you that (kubectl auth can-i get secrets -n raywarden-system), or ask as one"
    assert finding == {
        "id": "seed",
        "status": "unknown",
        "message": f"the seed: you may not {right}",
        "remediation": ask,
    }


@conversation
async def test_words_of_strangers_cannot_write_on_the_terminal(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    furnish(fake)
    fake.dry_runs["pods"] = fails(403, "no\x1b[2J\r\n√ all is well\u202e [bold]" + "x" * 5000)
    for output in ("text", "json"):
        said = (await check(fake, "--output", output))[1]
        assert "no [2J" in said and "[bold]xxx" in said, "what looks like markup is none"
        assert not any(c in said for c in "\x1b\r\u202e") and "\n√ all is well" not in said
        assert len(said) < 12_000


def test_without_an_api_server_nothing_can_be_asked() -> None:
    async def main() -> None:
        fake = FakeKubeApi(port := free_port())
        code, said = await check(fake)
        assert code == 2 and said.startswith(
            f"raywarden: get /version: the API server cannot be reached at 127.0.0.1:{port}"
        )

    talk(main())


@conversation
async def test_what_is_no_api_server_cannot_be_asked_either(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    async def page(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>")

    for answer in (page, fails(401), fails(404)):
        fake.faults.append(answer)
        code, said = await check(fake)
        assert code == 2 and said.startswith("raywarden: get /version: ") and "<html>" not in said


@conversation
async def test_a_wrong_call_is_said_in_a_line(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    assert await check(fake, "--probe", "demo") == (2, "raywarden: demo is not NAMESPACE/CLUSTER\n")
    assert await check(fake, "--all-pods") == (
        2,
        "raywarden: --address and --all-pods go with --probe\n",
    )
    code, said = await check(fake, "--probe", "team-a/nowhere")
    assert code == 2 and "there is no RayCluster team-a/nowhere" in said


@conversation
async def test_a_probe_is_a_section_of_its_own(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    files = Files(live_objects.SEED, ray_cluster_of(live_objects.ray_cluster()), NOW)
    away = {"dashboard-port": str(free_port()), "dashboard-agent-listen-port": str(free_port())}
    with grpc_server(files) as port, grpc_server(None) as plain:
        params = {"port": str(port), "ray-client-server-port": str(plain), **away}
        head = {"/spec": {"headGroupSpec": {"rayStartParams": params}}}
        fake.put("rayclusters", changed(healthy_installation.ray_cluster(), head))
        code, said = await check(fake, "--probe", "team-a/demo", "--address", "127.0.0.1")
    assert code == 1
    title = "probe team-a/demo"
    assert f"\n{title}\n{'-' * len(title)}\n√ demo-head-abcde:{port} refuses plaintext\n" in said
    assert f"\n✗ demo-head-abcde:{plain} speaks plaintext: TLS is off\n" in said


@conversation
async def test_a_probe_that_reaches_nothing_proves_nothing(fake: FakeKubeApi, api: KubeApi) -> None:
    furnish(fake)
    params = {
        name: str(free_port()) for name in ("port", "ray-client-server-port", "dashboard-port")
    }
    params["dashboard-agent-listen-port"] = str(free_port())
    fake.put(
        "rayclusters",
        changed(
            healthy_installation.ray_cluster(),
            {"/spec": {"headGroupSpec": {"rayStartParams": params}}},
        ),
    )
    code, said = await check(fake, "--probe", "team-a/demo", "--address", "127.0.0.1")
    assert code == 2 and "? demo-head-abcde:" in said and "cannot be reached at 127.0.0.1:" in said


@pytest.mark.parametrize("status", Status)
def test_the_worst_is_the_whole(status: Status) -> None:
    findings = tuple(
        Finding(str(one), one, "x")
        for one in Status
        if list(Status).index(one) <= list(Status).index(status)
    )
    assert worst([Section("x", findings)]) is status
    assert as_json([Section("x", findings)])["status"] == str(status)


def test_words_are_shown_on_one_line() -> None:
    assert shown("a\nb\tc\x00d\x7f\u2028e") == "a b c d  e"
    assert len(shown("x" * 10_000)) < 1010
