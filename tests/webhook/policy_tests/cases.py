"""Test files on disk, and the session that runs them."""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tests.support import factory
from webhook.offline import offline_reviewer
from webhook.policy_tests.files import NAME
from webhook.policy_tests.results import CaseResult, PolicyTestRun
from webhook.policy_tests.session import Session
from webhook.settings import Settings

PUBLIC = factory.changed(factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "LoadBalancer"})


def write(folder: Path, *cases: dict[str, Any], **fields: Any) -> Path:
    """A test file with these cases."""
    file = folder / NAME
    # The same object in two cases would be written as an anchor.
    content = copy.deepcopy({"kind": "PolicyTest", **fields, "cases": list(cases)})
    file.write_text(yaml.safe_dump(content, sort_keys=False))
    return file


def session(folder: Path) -> Session:
    return Session(partial(offline_reviewer, Settings()), folder)


def run(folder: Path, *cases: dict[str, Any], **fields: Any) -> PolicyTestRun:
    """Write a test file, and run it."""
    write(folder, *cases, **fields)
    return session(folder).run([folder])


def run_one(folder: Path, case: dict[str, Any], **fields: Any) -> CaseResult:
    """Run a single case."""
    (result,) = run(folder, {"name": "case", **case}, **fields).cases
    return result
