"""`raywarden test` as administrators and CI jobs run it, and as the documentation shows it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from junitparser import JUnitXml

from tests.support.paths import DEPLOY
from tests.webhook.policy_tests.cases import PUBLIC, write

GUIDE = (DEPLOY / "POLICY-FILE.md").read_text()
FOLDER = "deploy/policy-tests"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "webhook", "test", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The folder `deploy` as in the repository."""
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    return tmp_path


def shown(command: str) -> str:
    """What the documentation says that a command prints."""
    _, _, after = GUIDE.partition(f"$ .venv/bin/raywarden test {command}\n")
    return after.partition("```")[0]


def test_the_documentation_shows_a_real_file_and_its_real_output(copy: Path) -> None:
    file = copy / FOLDER / "raywarden-test.yaml"
    assert f"```yaml\n{file.read_text()}```" in GUIDE
    passed = run(copy, FOLDER)
    assert (passed.returncode, passed.stdout, passed.stderr) == (0, shown(FOLDER), "")
    policy = copy / FOLDER / "policy.yaml"
    policy.write_text(policy.read_text().replace("until: 2027-01-31", "until: 2027-01-10"))
    failed = run(copy, FOLDER, "--run", "may be public")
    assert failed.returncode == 1
    assert failed.stdout == shown(f'{FOLDER} --run "may be public"')


def test_the_current_folder_is_the_default_and_hidden_folders_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", ".hidden"):
        folder = tmp_path / name
        folder.mkdir()
        write(folder, {"name": name, "objects": [PUBLIC], "expect": {"verdict": "denied"}})
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a" / "raywarden-test.yaml").rename(tmp_path / "a" / "gpu-raywarden-test.yaml")
    ended = run(tmp_path, "-o", "json")
    assert ended.returncode == 0, ended.stderr
    cases = json.loads(ended.stdout)["cases"]
    assert [case["file"] for case in cases] == [
        "a/gpu-raywarden-test.yaml",
        "b/raywarden-test.yaml",
    ]


def test_a_file_outside_may_read_what_is_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "cluster.yaml").write_text(json.dumps(PUBLIC))
    expect = {"verdict": "denied"}
    file = write(
        folder,
        {"name": "beside", "objects": ["cluster.yaml"], "expect": expect},
        {"name": "above", "objects": ["../tests/../cluster.yaml"], "expect": expect},
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    ended = run(elsewhere, str(file), "-o", "junit")
    assert ended.returncode == 2
    (suite,) = JUnitXml.fromstring(ended.stdout.encode())
    beside, above = suite
    assert beside.result == []
    assert "../tests/../cluster.yaml leads out of" in above.result[0].message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nothing"], "nothing: there is no raywarden-test.yaml in this folder or below it"),
        (["missing.yaml"], "missing.yaml: No such file or directory"),
        (["--run", "("], "--run '(' is not a regular expression: "),
        (["cases", "--run", "nobody"], "no case has a name that matches 'nobody'"),
    ],
)
def test_what_cannot_be_run_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    for name in ("nothing", "cases"):
        (tmp_path / name).mkdir()
    case = {"name": "a", "objects": [PUBLIC], "expect": {"verdict": "denied"}}
    write(tmp_path / "cases", case)
    ended = run(tmp_path, *arguments)
    assert ended.returncode == 2
    assert message in ended.stdout + ended.stderr


def test_recorded_cases_pass(tmp_path: Path) -> None:
    write(tmp_path, {"name": "a", "objects": [PUBLIC]})
    assert run(tmp_path).returncode == 2
    recorded = run(tmp_path, "--write")
    assert recorded.stdout.splitlines()[-2:] == [
        "note: wrote raywarden-test.yaml",
        "1 passed, 0 failed, 0 unreadable",
    ]
    assert run(tmp_path).returncode == 0


def test_the_schema_is_printed(tmp_path: Path) -> None:
    ended = run(tmp_path, "--schema")
    assert ended.returncode == 0
    schema = json.loads(ended.stdout)
    assert (schema["title"], schema["required"]) == ("RayWarden policy test", ["kind", "cases"])
