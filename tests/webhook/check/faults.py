"""Ways to spoil an installation that is sound, and what has to be found then."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from tests.support import live_objects
from tests.support.factory import Object
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.webhook.check.healthy_installation import configuration
from webhook.check.findings import Status

Spoil = Callable[[FakeKubeApi], object]


def put(plural: str, document: Object) -> Spoil:
    return lambda fake: fake.put(plural, document)


def without(plural: str, namespace: str, name: str) -> Spoil:
    return lambda fake: fake.delete(plural, namespace, name)


def dry_run_fails(plural: str, status: int, message: str) -> Spoil:
    return lambda fake: fake.dry_runs.update({plural: fails(status, message)})


def validating(**webhook: object) -> Spoil:
    return put("validatingwebhookconfigurations", configuration("validating", **webhook))


def mutating(**webhook: object) -> Spoil:
    return put("mutatingwebhookconfigurations", configuration("mutating", **webhook))


def forbidden(verb: str, plural: str) -> Spoil:
    return lambda fake: fake.forbidden.add((verb, plural))


def version(minor: str) -> Spoil:
    return lambda fake: fake.paths.update(
        {"/version": {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}}
    )


def both(*spoils: Spoil) -> Spoil:
    def spoil(fake: FakeKubeApi) -> None:
        for one in spoils:
            one(fake)

    return spoil


def letting(**warned: str) -> Spoil:
    """A pod that is let in, with a warning of ours, or with what the mutating webhook adds."""

    async def answer(request: web.BaseRequest) -> web.Response:
        document = await request.json()
        if "mutated" in warned:
            document["spec"]["initContainers"] = [{"name": "raywarden-enroll"}]
        headers = {"Warning": f'299 - "{warned["said"]}"'} if "said" in warned else {}
        return web.json_response(document, headers=headers, status=201)

    return lambda fake: fake.dry_runs.update({"pods": answer})


@dataclass(frozen=True)
class Case:
    """What is done to a sound installation, and what is found then."""

    spoil: Spoil
    finding: str
    status: Status
    words: str
    now: datetime = live_objects.NOW


def case(
    spoil: Spoil, finding: str, status: Status, words: str, now: datetime = live_objects.NOW
) -> Case:
    return Case(spoil, finding, status, words, now)
