"""Golden files: for each input a file with the result of admission; `make golden` rewrites them.

The inputs are the examples and the manifests in `golden/`. The command line and the HTTP server
must both give the result in the file.
"""

import asyncio
import base64
import time
from pathlib import PurePath
from typing import Any

import httpx
import jsonpatch
import orjson
import pytest

from policies.documents.untrusted_yaml import load_all
from policies.documents.untyped import as_dict
from tests.support import factory, proxied
from tests.support.factory import Object
from tests.support.paths import GOLDEN
from webhook.admission.reviewer import Reviewer
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest
from webhook.metrics.registry import Metrics
from webhook.reports.json_report import object_document
from webhook.review.judged import Judge
from webhook.server.observer import Observer
from webhook.server.readiness import Readiness
from webhook.server.routes import admission_app
from webhook.settings import Settings

# The policy files other than the default one, by the name of the input.
_REVIEWERS = {"dashboard-proxy": factory.reviewer({"inject": proxied.INJECT})}
_DEFAULT = factory.reviewer()


def inputs() -> dict[str, Object]:
    documents: dict[str, Object] = dict(factory.examples())
    for file in sorted(GOLDEN.glob("*.yaml")):
        (document,) = load_all(file.read_text())
        documents[file.stem] = document
    return documents


def reviewed(name: str, document: Object) -> Object:
    """The command line's report, and the objects as they would be stored.

    These include the objects that KubeRay would create.
    """
    result = review_manifest(_reviewer(name), Manifest(name, 1, document), "default")
    assert result is not None
    stored = [outcome.document for outcome in (result.outcome, *result.derived)]
    report = object_document(Judge(PurePath()).result(result), lambda rule: "")
    return {"report": report, "stored": stored}


def _reviewer(name: str) -> Reviewer:
    return _REVIEWERS.get(name, _DEFAULT)


@pytest.mark.parametrize("name", sorted(inputs()))
def test_the_command_line_gives_the_golden_result(name: str, rewrite_golden: bool) -> None:
    result = orjson.dumps(reviewed(name, inputs()[name]), option=orjson.OPT_INDENT_2) + b"\n"
    file = GOLDEN / f"{name}.json"
    if rewrite_golden:
        file.write_bytes(result)
    assert file.exists(), "there is no golden file yet: run make golden"
    expected = orjson.loads(file.read_bytes())
    assert orjson.loads(result) == expected, "run make golden and review the difference"


@pytest.mark.parametrize("name", sorted(inputs()))
def test_the_server_gives_the_golden_result(name: str) -> None:
    document = inputs()[name]
    review = document if document["kind"] == "AdmissionReview" else factory.review(document)
    if document["kind"] != "AdmissionReview":
        metadata = as_dict(document.get("metadata"))
        review["request"]["namespace"] = metadata.get("namespace", "default")
    golden = orjson.loads((GOLDEN / f"{name}.json").read_bytes())
    mutation = answer("/mutate", review, _reviewer(name))
    operations = orjson.loads(base64.b64decode(mutation.get("patch", "W10=")))
    stored = jsonpatch.apply_patch(review["request"]["object"], operations)
    assert stored == golden["stored"][0]
    review["request"]["object"] = stored
    verdict = answer("/validate", review, _reviewer(name))
    report = golden["report"]
    errors = [finding for finding in report["findings"] if _is_refused(finding)]
    assert verdict["allowed"] is (not errors)
    # The server names places in the object as it would be stored, the report in the manifest.
    lines = verdict.get("status", {}).get("message", "").splitlines()
    for finding in errors:
        start, end = f"{finding['rule']}: {finding['message']} (at ", finding["remediation"]
        assert any(line.startswith(start) and line.endswith(f"Fix: {end}") for line in lines)


def _is_refused(finding: Any) -> bool:
    if finding["derived"] or finding["suppression"]:
        return False
    return bool(finding["level"] == "error")


def answer(path: str, review: Object, reviewer: Reviewer) -> Any:
    async def ask() -> httpx.Response:
        observer = Observer(Metrics(), time.perf_counter)
        app = admission_app(reviewer, observer, Readiness(lambda ready: None), Settings())
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="https://localhost") as client:
            headers = {"Content-Type": "application/json"}
            return await client.post(path, content=orjson.dumps(review), headers=headers)

    return asyncio.run(ask()).json()["response"]


def test_every_golden_file_has_an_input() -> None:
    assert {file.stem for file in GOLDEN.glob("*.json")} == set(inputs())
