"""The fixtures of the pytest plugin, in runs of their own."""

import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import factory, related_objects
from tests.support.paths import EXAMPLES, REPOSITORY
from tests.webhook.policy_tests.cases import PUBLIC
from webhook.policy_tests import pytest_plugin
from webhook.policy_tests.charts import Admit, Review

pytest_plugins = ["pytester"]

PLAIN = factory.ray_cluster()
MODULE = pytest_plugin.__name__
QUIET: dict[str, Any] = {"profiles": {"warn": "baseline"}}
_GUIDE = re.compile(r"### Test charts in Python.*?```python\n(.*?)```", re.DOTALL)
_CODE = f"""\
import sys, pytest
before = set(sys.modules)
import {MODULE}
ours = ("webhook", "policies", "certs", "pydantic", "yaml", "typer", "kubernetes", "aiohttp")
print(sorted(name for name in set(sys.modules) - before if name.startswith(ours)))
"""


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """Arguments of a run with this plugin only, installed or not."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return ("-p", MODULE, "-p", "no:cacheprovider", "-W", "error")


def test_the_example_of_the_documentation_passes(
    pytester: pytest.Pytester, alone: tuple[str, ...]
) -> None:
    match = _GUIDE.search((REPOSITORY / "webhook/README.md").read_text())
    assert match
    pytester.makepyfile(match[1])
    shutil.copytree(EXAMPLES / "hardened", pytester.path / "manifests")
    (pytester.path / "policy.yaml").write_text("profiles: {enforce: restricted}\n")
    pytester.runpytest_subprocess(*alone).assert_outcomes(passed=3)
    # With a wrong image, all of them fail.
    cluster = pytester.path / "manifests" / "raycluster.yaml"
    cluster.write_text(re.sub(r"rayproject/ray:\S+", "rayproject/ray:latest", cluster.read_text()))
    pytester.runpytest_subprocess(*alone).assert_outcomes(failed=3)


def test_the_plugin_costs_nothing_until_a_test_uses_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _CODE], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == str(["webhook", "webhook.policy_tests", MODULE])


def test_pytest_loads_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"raywarden": MODULE}


def rules(findings: list[Any]) -> list[tuple[str, str]]:
    return [(str(finding.level), finding.rule) for finding in findings]


REFUSED = [("error", "no-public-head-service")]


def test_manifests_are_a_path_text_or_objects(tmp_path: Path) -> None:
    review, text = Review(), yaml.safe_dump(PUBLIC)
    (tmp_path / "a.yaml").write_text(text)
    (located,) = review(tmp_path, policy=QUIET)
    line = text[: text.index("serviceType")].count("\n") + 1
    assert (located.place.file, located.place.line) == (str(tmp_path / "a.yaml"), line)
    for manifests in (
        tmp_path,
        str(tmp_path / "a.yaml"),
        text,
        text.encode(),
        PUBLIC,
        [PUBLIC],
        iter([PUBLIC]),
    ):
        findings = review(manifests, policy=QUIET)
        assert rules(findings) == REFUSED
    (finding,) = findings
    assert (str(finding.subject), finding.derived) == ("RayCluster team-a/demo", None)
    assert str(finding.pointer) == "/spec/headGroupSpec/serviceType"


def test_the_review_follows_an_object_to_its_pods() -> None:
    own = {
        "id": "own-no-pods",
        "kinds": ["Pod"],
        "expression": "false",
        "message": "no pods",
        "remediation": "remove them",
        "profile": "baseline",
    }
    findings = Review()(factory.ray_job(), policy={**QUIET, "expressions": [own]})
    assert {str(finding.subject) for finding in findings} == {"RayJob team-a/job"}
    assert {finding.derived.kind for finding in findings if finding.derived} == {"Pod"}


def test_the_review_takes_the_circumstances_of_a_request(tmp_path: Path) -> None:
    exemption = {
        "rules": ["no-public-head-service"],
        "users": ["alice"],
        "reason": "demo",
        "until": "2027-01-31",
    }
    policy = tmp_path / "policy.yaml"
    policy.write_text(yaml.safe_dump({**QUIET, "exemptions": [exemption]}))
    day = date(2027, 1, 31)
    assert Review()(PUBLIC, policy=policy, user="alice", today=day) == []
    (exempt,) = Admit()(PUBLIC, policy=policy, user="alice", today=day).violations
    assert exempt.suppression and exempt.suppression.reason == "demo"
    assert rules(Review()(PUBLIC, policy=str(policy), user="bob", today=day)) == REFUSED
    late = Review()(PUBLIC, policy=policy, user="alice", today=date(2027, 2, 1))
    assert rules(late) == REFUSED


def test_admission_of_one_object() -> None:
    admit = Admit()
    admission = admit(PLAIN, policy=QUIET, kuberay="1.7")
    assert admission.allowed and admission.violations == ()
    assert "ray-tls" in admission.mutations
    assert admission.object["metadata"]["labels"]["raywarden.io/tls"] == "managed"
    refused = admit(PUBLIC, policy=QUIET)
    assert (refused.allowed, refused.denied, refused.warned) == (
        False,
        ("no-public-head-service",),
        (),
    )
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
    assert admit(config_map).allowed and admit(config_map).object == config_map


def test_admission_of_an_update() -> None:
    admit = Admit()
    stored = admit(PUBLIC).object
    update = admit(PUBLIC, old=stored, policy=QUIET, operation="UPDATE")
    assert update.allowed and update.warned == ("no-public-head-service",)
    assert not admit(PUBLIC, old=admit(PLAIN).object, policy=QUIET).allowed


def test_admission_in_a_cluster() -> None:
    label = {"raywarden.io/enforce": "restricted"}
    namespace = factory.changed(related_objects.namespace(), {"/metadata/labels": label})
    admit = Admit()
    assert "namespace-quota" not in admit(PLAIN, cluster=[namespace]).denied
    alone = admit(PLAIN, cluster=[namespace], complete=True)
    assert "namespace-quota" in alone.denied
    quota = [namespace, related_objects.quota()]
    assert "namespace-quota" not in admit(PLAIN, cluster=quota, complete=True).denied


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policy": "missing.yaml"}, "missing.yaml: No such file or directory"),
        ({"policy": {"profile": {}}}, "profile: there is no such field; did you mean profiles?"),
        ({"kuberay": "new"}, "kuberay='new' is not a version"),
        ({"cluster": "missing.yaml"}, "missing.yaml: No such file or directory"),
        ({"cluster": "a:\n  {{ x }}\n"}, "render Helm templates first"),
        ({"operation": "UPDATE"}, "the operation is CREATE, or UPDATE with the old object"),
        ({"old": factory.ray_job()}, "oldObjects has no object of this name"),
    ],
)
def test_what_cannot_be_read_raises_one_clear_line(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        Admit()(PUBLIC, **arguments)
    assert "\n" not in str(caught.value)
