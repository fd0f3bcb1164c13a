"""`raywarden unregister` as an operator runs it, against an API server on a real socket."""

from aiohttp import web

from tests.support.fake_kube_api import Answer, FakeKubeApi, Target, fails
from tests.support.kube_conversation import conversation, run_command
from tests.webhook.check.healthy_installation import configuration
from webhook.kube.api import KubeApi

KINDS = ("mutating", "validating")


def register(fake: FakeKubeApi) -> None:
    for kind in KINDS:
        fake.put(f"{kind}webhookconfigurations", configuration(kind))


def deleting(fake: FakeKubeApi) -> Answer:
    """Answers a DELETE as an API server would."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        assert request.method == "DELETE"
        target = Target.of(request.raw_path)
        if (target.plural, "", target.name) not in fake.objects:
            return await fails(404, "not found")(request)
        fake.delete(target.plural, "", target.name)
        return web.json_response({"kind": "Status", "status": "Success"})

    return answer


@conversation
async def test_both_configurations_are_deleted_and_the_one_that_refuses_goes_first(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    register(fake)
    fake.faults = [deleting(fake)] * 2
    code, output, errors = await run_command(fake, "unregister", "--yes")
    assert (code, errors) == (0, "")
    assert [line.partition("webhook")[0] for line in output.splitlines()] == [*reversed(KINDS)]
    assert not fake.objects


@conversation
async def test_a_second_time_there_is_nothing_to_delete(fake: FakeKubeApi, api: KubeApi) -> None:
    fake.faults = [deleting(fake)] * 2
    answer = await run_command(fake, "unregister", "--yes")
    assert answer == (0, "there are no webhook configurations to delete\n", "")


@conversation
async def test_nothing_is_deleted_without_confirmation(fake: FakeKubeApi, api: KubeApi) -> None:
    register(fake)
    code, output, _ = await run_command(fake, "unregister")
    assert code == 1 and "Delete its webhooks?" in output
    assert len(fake.objects) == 2 and not fake.seen


@conversation
async def test_a_missing_right_is_named(fake: FakeKubeApi, api: KubeApi) -> None:
    register(fake)
    reason = 'User "someone" cannot delete resource "validatingwebhookconfigurations" in API group'
    fake.faults = [fails(403, f"forbidden: {reason}")]
    code, _, errors = await run_command(fake, "unregister", "--yes")
    assert code == 2 and "may not delete validatingwebhookconfigurations" in errors
    assert len(fake.objects) == 2
