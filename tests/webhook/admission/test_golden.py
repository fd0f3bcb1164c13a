"""Golden pairs: an input on disk and, beside it, what admission makes of it. `make golden` writes them anew.

The inputs are the examples and the manifests of `golden/`; each goes through the command line's pipeline and through
the HTTP application, and both must give the file.
"""

import asyncio
import base64
import time
from typing import Any

import httpx
import jsonpatch
import orjson
import pytest

from policies.documents.untrusted_yaml import load_all
from policies.documents.untyped import as_dict
from tests.support import factory
from tests.support.factory import Object
from tests.support.paths import GOLDEN
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest
from webhook.manifests.report import as_json
from webhook.metrics.registry import Metrics
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.routes import admission_app
from webhook.settings import Settings

_REVIEWER = factory.reviewer()


def inputs() -> dict[str, Object]:
    found: dict[str, Object] = dict(factory.examples())
    for file in sorted(GOLDEN.glob("*.yaml")):
        (document,) = load_all(file.read_text())
        found[file.stem] = document
    return found


def examined(name: str, document: Object) -> Object:
    """By the command line: the report, and the objects as they would be stored, KubeRay's own included."""
    one = review_manifest(_REVIEWER, Manifest(name, 1, document), "default")
    assert one is not None
    stored = [outcome.document for outcome in (one.outcome, *one.derived)]
    return {"report": as_json([one], [], 0)["objects"][0], "stored": stored}


@pytest.mark.parametrize("name", sorted(inputs()))
def test_golden(name: str, rewrite_golden: bool) -> None:
    result = orjson.dumps(examined(name, inputs()[name]), option=orjson.OPT_INDENT_2) + b"\n"
    file = GOLDEN / f"{name}.json"
    if rewrite_golden:
        file.write_bytes(result)
    assert file.exists(), "no golden file yet: make golden"
    assert orjson.loads(result) == orjson.loads(file.read_bytes()), (
        "make golden, and look at the difference"
    )


@pytest.mark.parametrize("name", sorted(inputs()))
def test_the_server_gives_the_same_answer(name: str) -> None:
    document = inputs()[name]
    review = document if document["kind"] == "AdmissionReview" else factory.review(document)
    if document["kind"] != "AdmissionReview":
        review["request"]["namespace"] = as_dict(document.get("metadata")).get(
            "namespace", "default"
        )
    golden = orjson.loads((GOLDEN / f"{name}.json").read_bytes())
    mutation = answer("/mutate", review)
    operations = orjson.loads(base64.b64decode(mutation.get("patch", "W10=")))
    stored = jsonpatch.apply_patch(review["request"]["object"], operations)
    assert stored == golden["stored"][0]
    review["request"]["object"] = stored
    verdict = answer("/validate", review)
    report = golden["report"]
    enforced = [found for found in report["violations"] if found["mode"] == "enforce"]
    assert verdict["allowed"] is (not enforced)
    for found in enforced:
        assert (
            f"{found['rule']}: {found['message']} (at {found['pointer'] or '/'}). Fix: {found['remediation']}"
            in (verdict["status"]["message"].splitlines())
        )


def answer(path: str, review: Object) -> Any:
    async def ask() -> httpx.Response:
        observer = Observer(Metrics(), time.perf_counter)
        app = admission_app(_REVIEWER, observer, Readiness(lambda ready: None), Settings())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as client:
            headers = {"Content-Type": "application/json"}
            return await client.post(path, content=orjson.dumps(review), headers=headers)

    return asyncio.run(ask()).json()["response"]


def test_no_golden_file_without_its_input() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(inputs())
