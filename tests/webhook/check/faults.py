"""Faults to put into a healthy installation, and the finding that each must cause."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from tests.support import live_objects
from tests.support.factory import Object
from tests.support.fake_kube_api import FakeKubeApi, fails
from tests.webhook.check.healthy_installation import configuration
from webhook.check.findings import Status

Fault = Callable[[FakeKubeApi], object]


def put(plural: str, document: Object) -> Fault:
    return lambda fake: fake.put(plural, document)


def without(plural: str, namespace: str, name: str) -> Fault:
    return lambda fake: fake.delete(plural, namespace, name)


def dry_run_fails(plural: str, status: int, message: str) -> Fault:
    return lambda fake: fake.dry_runs.update({plural: fails(status, message)})


def validating(**webhook: object) -> Fault:
    return put("validatingwebhookconfigurations", configuration("validating", **webhook))


def mutating(**webhook: object) -> Fault:
    return put("mutatingwebhookconfigurations", configuration("mutating", **webhook))


def forbidden(verb: str, plural: str) -> Fault:
    return lambda fake: fake.forbidden.add((verb, plural))


def version(minor: str) -> Fault:
    answer = {"major": "1", "minor": minor, "gitVersion": f"v1.{minor}.0"}
    return lambda fake: fake.paths.update({"/version": answer})


def both(*faults: Fault) -> Fault:
    def apply(fake: FakeKubeApi) -> None:
        for fault in faults:
            fault(fake)

    return apply


def nothing(_fake: FakeKubeApi) -> None:
    """No fault at all: the case is about another point in time."""


def accepting_pods(*, warning: str = "", mutated: bool = False) -> Fault:
    """The dry run of a pod succeeds, with a warning, or with RayWarden's init container."""

    async def answer(request: web.BaseRequest) -> web.Response:
        document = await request.json()
        if mutated:
            document["spec"]["initContainers"] = [{"name": "raywarden-enroll"}]
        headers = {"Warning": f'299 - "{warning}"'} if warning else {}
        return web.json_response(document, headers=headers, status=201)

    return lambda fake: fake.dry_runs.update({"pods": answer})


@dataclass(frozen=True)
class Case:
    """A fault, and the finding it must cause: section and id, status, and part of its text."""

    fault: Fault
    finding: str
    status: Status
    text: str
    now: datetime = live_objects.NOW


def ok(fault: Fault, finding: str, text: str, now: datetime = live_objects.NOW) -> Case:
    return Case(fault, finding, Status.OK, text, now)


def unknown(fault: Fault, finding: str, text: str, now: datetime = live_objects.NOW) -> Case:
    return Case(fault, finding, Status.UNKNOWN, text, now)


def warning(fault: Fault, finding: str, text: str, now: datetime = live_objects.NOW) -> Case:
    return Case(fault, finding, Status.WARNING, text, now)


def failed(fault: Fault, finding: str, text: str, now: datetime = live_objects.NOW) -> Case:
    return Case(fault, finding, Status.FAILED, text, now)
