"""`raywarden check` as an operator runs it, against an API server on a real socket."""

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
from tests.support.grpc_servers import grpc_server
from tests.support.kube_conversation import conversation, free_port, kubeconfig_for, talk
from tests.support.secrecy import leaked
from tests.webhook.check import healthy_installation
from tests.webhook.check.probing import FILES, NOW
from webhook.check.findings import Finding, Section, Status
from webhook.check.report import as_json, worst
from webhook.kube.api import KubeApi

SECRETS = (
    live_objects.GENERATION.secret.hex(),
    base64.b64encode(live_objects.GENERATION.secret).decode(),
)


def install(fake: FakeKubeApi) -> None:
    """An installation that is healthy today: the command uses the real clock."""
    healthy_installation.install(fake)
    for pod in (healthy_installation.pod(), healthy_installation.pod("w", "worker")):
        fake.put("pods", changed(pod, {"/metadata/creationTimestamp": f"{NOW:%FT%TZ}"}))


async def check(fake: FakeKubeApi, *arguments: str) -> tuple[int, str]:
    """The exit code and the output of `raywarden check`; the output must not contain a secret."""
    with TemporaryDirectory() as folder:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "webhook", "check", *arguments),
            *("--kubeconfig", str(kubeconfig_for(fake, Path(folder)))),
            env={"PATH": os.environ["PATH"], "no_proxy": "127.0.0.1", "COLUMNS": "80"},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output = (await process.communicate())[0].decode()
    assert leaked(output) is None and not any(secret in output for secret in SECRETS)
    assert process.returncode is not None
    return process.returncode, output


@conversation
async def test_a_healthy_installation_has_a_line_for_each_finding(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    code, output = await check(fake, "--strict")
    assert code == 0
    assert output.startswith(
        "kubernetes-api\n--------------\n√ the API server answers and runs v1.36.2\n\npermissions\n"
    )
    assert output.endswith("\n√ 40 ok, 0 note, 0 unknown, 0 warning, 0 failed\n")
    assert "\x1b" not in output, "no colors without a terminal"


@conversation
async def test_a_remediation_is_below_its_finding_and_the_exit_code_is_the_worst(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    image = healthy_installation.IMAGE
    fake.put("deployments", healthy_installation.deployment(RAYWARDEN_ENROLL_IMAGE="raywarden:old"))
    code, output = await check(fake)
    assert code == 0
    assert (
        f"‼ the server uses the image {image}, but the init container of Ray pods uses "
        "raywarden:old\n    run kubectl -n rayw"
    ) in output
    assert (
        f"RAYWARDEN_ENROLL_IMAGE={image}-enroll; "
        "ignore this if a mirror has the same image under another name\n"
    ) in output
    assert (await check(fake, "--strict"))[0] == 1
    fake.delete("secrets", healthy_installation.HOME, "raywarden-seed")
    code, output = await check(fake)
    assert code == 1
    assert "✗ the Secret raywarden-system/raywarden-seed does not exist" in output


@conversation
async def test_programs_get_json(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    fake.forbidden = {("get", "secrets")}
    code, output = await check(fake, "--output", "json")
    report = json.loads(output)
    assert code == 0 and (await check(fake, "--output", "json", "--strict"))[0] == 1
    assert report["status"] == "unknown"
    assert report["counts"] == {"ok": 37, "note": 0, "unknown": 1, "warning": 0, "failed": 0}
    assert [section["title"] for section in report["sections"]] == [
        "kubernetes-api",
        "permissions",
        "installation",
        "webhook-configurations",
        "admission",
        "certificates",
        "kuberay",
        "coverage",
        "network-isolation",
        "policy",
    ]
    (finding,) = report["sections"][5]["findings"]
    assert finding == {
        "id": "seed",
        "status": "unknown",
        "message": (
            "could not check the seed: you may not get secrets in namespace raywarden-system"
        ),
        "remediation": (
            "ask an administrator for this permission "
            "(verify with kubectl auth can-i get secrets -n raywarden-system), "
            "or run the command as an administrator"
        ),
    }


@conversation
async def test_several_formats_go_into_files(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    with TemporaryDirectory() as folder:
        page, report = Path(folder, "a.html"), Path(folder, "a.json")
        outputs = ("--output", f"html={page}", "-o", f"json={report}", "-o", "text")
        code, output = await check(fake, *outputs)
        assert code == 0 and output.endswith("0 failed\n")
        assert "RayWarden works, and nothing is weak" in page.read_text()
        assert json.loads(report.read_text())["status"] == "ok"
    assert await check(fake, "--output", "sarif") == (
        2,
        "raywarden: --output 'sarif' is not a format: use one of text, json, html\n",
    )


@conversation
async def test_text_from_others_cannot_control_the_terminal(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    fake.dry_runs["pods"] = fails(403, "no\x1b[2J\r\n√ all is well\u202e [bold]" + "x" * 5000)
    for format in ("text", "json"):
        output = (await check(fake, "--output", format))[1]
        assert "no [2J" in output
        assert "[bold]xxx" in output, "the text is not interpreted as markup"
        assert not any(char in output for char in "\x1b\r\u202e")
        assert "\n√ all is well" not in output
        assert len(output) < 12_000


def test_without_an_api_server_nothing_can_be_checked() -> None:
    async def main() -> None:
        port = free_port()
        code, output = await check(FakeKubeApi(port))
        expected = f"raywarden: get /version: the API server cannot be reached at 127.0.0.1:{port}"
        assert code == 2 and output.startswith(expected)

    talk(main())


@conversation
async def test_a_server_that_is_not_an_api_server_is_an_error(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    async def page(_request: web.BaseRequest) -> web.Response:
        return web.Response(text="<html>")

    for answer in (page, fails(401), fails(404)):
        fake.faults.append(answer)
        code, output = await check(fake)
        assert code == 2 and output.startswith("raywarden: get /version: ")
        assert "<html>" not in output


@conversation
async def test_wrong_arguments_are_reported_in_one_line(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    assert await check(fake, "--probe", "demo") == (2, "raywarden: demo is not NAMESPACE/CLUSTER\n")
    assert await check(fake, "--all-pods") == (
        2,
        "raywarden: --address and --all-pods need --probe\n",
    )
    code, output = await check(fake, "--probe", "team-a/nowhere")
    assert code == 2 and "there is no RayCluster team-a/nowhere" in output


def use_ports(fake: FakeKubeApi, **ports: int) -> None:
    """Put the Ray cluster's head on these ports, and its other ports where nothing listens."""
    names = ("port", "ray_client_server_port", "dashboard_port", "dashboard_agent_listen_port")
    params = {name.replace("_", "-"): str(ports.get(name) or free_port()) for name in names}
    head = {"/spec": {"headGroupSpec": {"rayStartParams": params}}}
    fake.put("rayclusters", changed(healthy_installation.ray_cluster(), head))


@conversation
async def test_a_probe_is_the_last_section(fake: FakeKubeApi, api: KubeApi) -> None:
    install(fake)
    with grpc_server(FILES) as tls, grpc_server(None) as plain:
        use_ports(fake, port=tls, ray_client_server_port=plain)
        code, output = await check(fake, "--probe", "team-a/demo", "--address", "127.0.0.1")
    assert code == 1
    title = "probe team-a/demo"
    line = "-" * len(title)
    assert f"\n{title}\n{line}\n√ demo-head-abcde:{tls} rejects plaintext\n" in output
    assert f"\n✗ demo-head-abcde:{plain} speaks plaintext: TLS is off\n" in output


@conversation
async def test_a_probe_that_reaches_nothing_is_not_a_success(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    install(fake)
    use_ports(fake)
    code, output = await check(fake, "--probe", "team-a/demo", "--address", "127.0.0.1")
    assert code == 2
    assert "? demo-head-abcde:" in output and "cannot be reached at 127.0.0.1:" in output


@pytest.mark.parametrize("status", Status)
def test_the_worst_finding_decides_the_status(status: Status) -> None:
    statuses = list(Status)
    up_to_this = statuses[: statuses.index(status) + 1]
    findings = tuple(Finding(str(better), better, "x") for better in up_to_this)
    assert worst([Section("x", findings)]) is status
    assert as_json([Section("x", findings)])["status"] == str(status)


def test_text_is_printed_on_one_line() -> None:
    findings = (Finding("x", Status.FAILED, "a\nb\tc\x00d\x7f\u2028e", "x" * 10_000),)
    [section] = as_json([Section("x", findings)])["sections"]
    [shown] = section["findings"]
    assert shown["message"] == "a b c d  e"
    assert 1000 <= len(shown["remediation"]) < 1010
