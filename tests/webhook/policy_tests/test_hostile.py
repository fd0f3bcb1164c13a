"""Test files that are wrong or hostile: one clear line, the other cases still run, all bounded."""

import os
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from tests.webhook.policy_tests.cases import PUBLIC, run, session
from webhook.policy_tests.cases import MAX_CASES
from webhook.policy_tests.files import NAME
from webhook.policy_tests.report import PolicyTestFormat, render
from webhook.policy_tests.results import CaseStatus

EXPECT = {"verdict": "denied"}
PROBLEMS = """\
kind: PolicyTest
polcy: x
today: 2026-1-1
kuberay: 1.7
cases:
  - name: a
    objects: []
    expect: {verdict: yes, denies: [no-rot], contians: {}}
  - name: a
    objects: [1, /etc/passwd, "C:\\\\a", ""]
    operation: UPDATE
    expect: {mutates: [ray-tsl], stored: 1}
"""


def problems(folder: Path, content: str | bytes) -> list[str]:
    """What is reported about a test file, without its name."""
    file = folder / NAME
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    result = session(folder).run([folder])
    assert result.cases == []
    (broken,) = result.unreadable
    return [line.removeprefix(f"{file}") for line in broken.why.splitlines()]


def test_all_problems_are_reported_with_their_places(tmp_path: Path) -> None:
    verdicts = "'allowed', 'denied', 'mixed' or 'ignored'"
    assert problems(tmp_path, PROBLEMS) == [
        ":2:1: polcy: there is no such field; did you mean policy?",
        ":3:8: today: write a day as 2027-01-31",
        ":4:10: kuberay: write a string (numbers and booleans need quotes)",
        ":7:14: cases.0.objects: write at least one",
        f":8:23: cases.0.expect.verdict: Input should be {verdicts}",
        ":8:37: cases.0.expect.denies.0: no rule is called no-rot; did you mean no-root?",
        ":8:46: cases.0.expect.contians: there is no such field; did you mean contains?",
        ":10:15: cases.1.objects.0: write a path, or an object",
        ":10:18: cases.1.objects.1: write a path relative to this file",
        ":10:31: cases.1.objects.2: write a path relative to this file",
        ":10:40: cases.1.objects.3: write a path",
        ":12:24: cases.1.expect.mutates.0: no mutation is called ray-tsl; did you mean ray-tls?",
        ":12:42: cases.1.expect.stored: write the path of a YAML file, or a list of objects",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", ":1:1: kind: Field required"),
        ("a: [1, 2\nb: {", ":2:2: did not find expected ',' or ']'"),
        (b"\x89PNG\0", ":1:1: not UTF-8 text"),
        ("{{ if .Values.a }}", ":1:2: a key is a list or a mapping"),
        ("kind: PolicyTest\n---\nkind: PolicyTest\n", ":3:1: a second document starts here"),
        ("- " * 10_000, ":1:201: nested deeper than 100 levels"),
        ("kind: Policy\ncases: []\n", ":1:7: kind: Input should be 'PolicyTest'"),
        ("kind: PolicyTest\ncases: []\n", ":2:8: cases: write at least one"),
        ("kind: PolicyTest\ncases:\n" + "- {name: a}\n" * 10**6, ": larger than 2048 KiB"),
    ],
)
def test_a_file_that_is_no_test_is_one_line(
    content: str | bytes, line: str, tmp_path: Path
) -> None:
    assert problems(tmp_path, content)[0].startswith(line)


def test_a_file_with_too_many_cases_is_refused_at_once(tmp_path: Path) -> None:
    cases = "".join(
        f"- {{name: c{number}, objects: [{NAME}]}}\n" for number in range(20 * MAX_CASES)
    )
    started = perf_counter()
    (line,) = problems(tmp_path, f"kind: PolicyTest\ncases:\n{cases}")
    assert line.startswith(f":3:1: cases: Tuple should have at most {MAX_CASES} items")
    assert perf_counter() - started < 60


def test_two_cases_have_two_names(tmp_path: Path) -> None:
    case = {"name": "a", "objects": [PUBLIC]}
    (broken,) = run(tmp_path, case, case).unreadable
    assert broken.why.endswith("cases.1.name: another case has this name")


def test_a_problem_of_the_policy_has_its_place(tmp_path: Path) -> None:
    case = {"name": "a", "objects": [PUBLIC], "expect": EXPECT}
    (inline,) = run(tmp_path, case, policy={"profiles": {"enforc": "baseline"}}).unreadable
    assert "policy.profiles.enforc: there is no such field; did you mean enforce?" in inline.why
    (tmp_path / "policy.yaml").write_text("profiles: {enforc: baseline}\n")
    (file,) = run(tmp_path, case, policy="policy.yaml").unreadable
    assert file.why.startswith(f"{tmp_path}/policy.yaml:1:12: profiles.enforc: there is no such")
    (itself,) = run(tmp_path, case, policy=NAME).unreadable
    assert "kind: Input should be 'Policy'" in itself.why
    (outside,) = run(tmp_path, case, policy="../policy.yaml").unreadable
    assert "policy: ../policy.yaml leads out of" in outside.why


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    """A folder with files that a pattern should not follow or read."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.yaml").write_text("password: x\n")
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "link.yaml").symlink_to(outside / "secret.yaml")
    (folder / "linked").symlink_to(outside)
    (folder / "loop").symlink_to(folder)
    (folder / "circle.yaml").symlink_to(folder / "circle.yaml")
    (folder / "broken.yaml").write_text("a: [")
    (folder / "values.yaml").write_text("replicas: 1\n")
    os.mkfifo(folder / "fifo.yaml")
    return folder


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (NAME, "a test file has no objects of a cluster"),
        ("raywarden*", "raywarden* matches no file with a Kubernetes object"),
        ("x*.yaml", "x*.yaml matches no file with a Kubernetes object"),
        ("[.yaml", "[.yaml matches no file with a Kubernetes object"),
        ("x.yaml", "x.yaml: No such file or directory"),
        ("values.yaml", "values.yaml: contains no Kubernetes object"),
        ("broken.yaml", "broken.yaml: line 2, column 1: "),
        ("fifo.yaml", "fifo.yaml: not a file"),
        ("fifo*", "fifo* matches no file with a Kubernetes object"),
        ("link.yaml", "link.yaml leads out of"),
        ("l*.yaml", "link.yaml leads out of"),
        ("linked", "linked leads out of"),
        ("linked/*.yaml", "linked/*.yaml leads out of"),
        ("../outside/secret.yaml", "../outside/secret.yaml leads out of"),
        ("../../../../../etc/*", "../../../../../etc/* leads out of"),
        ("*/../../outside/*.yaml", "write .. only before the first *, ? or ["),
        ("**/a/**/*.yaml", "write ** only once"),
        ("circle.yaml", "circle.yaml: "),
        ({"a": 1}, "not a Kubernetes object: set apiVersion and kind"),
        ({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}, "not an admission"),
    ],
)
def test_objects_that_cannot_be_read_are_one_line(
    source: Any, message: str, odd_files: Path
) -> None:
    good = {"name": "good", "objects": [PUBLIC], "expect": EXPECT}
    bad = {"name": "bad", "objects": [source], "expect": EXPECT}
    first, second = run(odd_files, bad, good).cases
    place, _, found = first.problem.partition(": ")
    assert place.startswith(f"{odd_files}/{NAME}:")
    assert message in found
    assert "\n" not in found
    assert second.status is CaseStatus.PASSED


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"oldObjects": [PUBLIC], "operation": "CREATE"}, "oldObjects needs the operation UPDATE"),
        ({"operation": "UPDATE"}, "UPDATE needs oldObjects"),
        ({"kuberayFeatureGates": "A=true"}, "kuberayFeatureGates needs kuberay"),
        ({"oldObjects": [{**PUBLIC, "kind": "RayJob"}]}, "oldObjects has no object of this name"),
        ({"expect": {}}, "expects nothing: set expect, or start raywarden test --write"),
    ],
)
def test_fields_that_contradict_each_other_are_one_line(
    case: dict[str, Any], message: str, tmp_path: Path
) -> None:
    result = run(tmp_path, {"name": "a", "objects": [PUBLIC], "expect": EXPECT, **case})
    (problem,) = [broken.why for broken in result.unreadable] or [
        found.problem for found in result.cases
    ]
    assert problem.endswith(message)


def test_the_cluster_of_the_file_must_be_readable(tmp_path: Path) -> None:
    case = {"name": "a", "objects": [PUBLIC], "expect": EXPECT}
    (broken,) = run(tmp_path, case, cluster=[PUBLIC, "x.yaml"]).unreadable
    assert "cluster.1: " in broken.why and broken.why.endswith("No such file or directory")


def test_names_and_texts_stay_on_their_line(tmp_path: Path) -> None:
    result = run(
        tmp_path, {"name": "a\n\x1b[31mb\x07", "objects": [PUBLIC], "expect": {"denies": []}}
    )
    for form in PolicyTestFormat:
        assert "\x1b" not in render(form, result)
    first = render(PolicyTestFormat.TEXT, result).splitlines()[0]
    assert first.endswith(": a  [31mb ")


def test_a_test_file_that_is_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    (broken,) = session(tmp_path).run([tmp_path]).unreadable
    assert broken.why == f"{tmp_path}/{NAME}: not a file"
