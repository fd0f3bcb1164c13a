"""`raywarden scan` as people and CI jobs run it, against an API server on a real socket."""

from aiohttp import web

from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.support.kube_conversation import conversation, run_command
from tests.webhook.scan.scanned import fill
from webhook.kube.api import KubeApi


async def scan(fake: FakeKubeApi, *options: str) -> tuple[int, str, str]:
    """The exit code, the output and the errors of `raywarden scan`."""
    return await run_command(fake, "scan", *options)


@conversation
async def test_findings_are_printed_and_decide_the_exit_code(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    code, output, errors = await scan(fake, "--min-severity", "critical")
    assert (code, errors) == (1, ""), "no progress bar without a terminal"
    assert "RayCluster team-a/demo" in output and "tls-on" in output
    assert "no-token-automount" not in output
    assert output.endswith("3 reviewed, 3 denied, 0 warnings, 0 unreadable, 2 skipped (not Ray)\n")
    assert (await scan(fake, "--fail-on", "never"))[0] == 0


@conversation
async def test_an_incomplete_scan_replaces_no_report(fake: FakeKubeApi, api: KubeApi) -> None:
    fill(fake)
    fake.paths["/apis/openreports.io/v1alpha1"] = {"resources": [{"name": "reports"}]}
    serve = fake.serve

    async def break_services(request: web.BaseRequest) -> web.StreamResponse:
        if request.raw_path.startswith("/api/v1/services"):
            return await fails(500)(request)
        return await serve(request)

    fake.serve = break_services  # type: ignore[method-assign]  # the fake of this test alone
    code, _, errors = await scan(fake, "--report")
    assert code == 2
    assert "no report is written: the scan is incomplete" in errors
    assert {request.method for request in fake.seen} == {"GET"}


@conversation
async def test_a_scan_waits_for_an_api_server_that_says_when_to_come_again(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    fill(fake)
    expected = await scan(fake)
    count = len(fake.seen)
    fake.faults += [fails(429, "storage is (re)initializing", Retry_After="1")] * 3
    assert await scan(fake) == expected
    assert len(fake.seen) == 2 * count + 3
