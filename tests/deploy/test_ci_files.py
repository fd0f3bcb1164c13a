"""The files for CI systems are run as they are written, except for what needs the network."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import factory
from tests.support.paths import REPOSITORY
from webhook import __version__

CI = REPOSITORY / "deploy" / "ci"
ACTION = REPOSITORY / ".github" / "actions" / "review" / "action.yml"
PUBLIC = factory.changed(factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "LoadBalancer"})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """The repository of a user, with a manifest that is refused."""
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "ray.yaml").write_text(yaml.safe_dump(PUBLIC))
    return tmp_path


def shell(
    script: str, folder: Path, environment: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder, env={"PATH": path, **environment},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def test_the_github_action(repository: Path) -> None:
    action = load(ACTION)
    inputs = {name: entry["default"] for name, entry in action["inputs"].items()}
    inputs |= {"paths": "manifests", "arguments": "--min-severity high"}
    review = action["runs"]["steps"][1]
    environment = {
        name: inputs[value.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, value in review["env"].items()
    }
    environment["GITHUB_STEP_SUMMARY"] = str(repository / "summary.md")
    ended = shell(review["run"], repository, environment)
    assert ended.returncode == 1, ended.stderr
    assert "::error file=manifests/ray.yaml,line=" in ended.stdout
    assert (repository / "raywarden.sarif").exists()
    assert "no-public-head-service" in (repository / "summary.md").read_text()


def test_no_input_of_the_action_is_part_of_a_script() -> None:
    for step in load(ACTION)["runs"]["steps"]:
        assert "${{" not in step["run"]


def test_the_github_workflow_uses_inputs_that_the_action_has() -> None:
    steps = load(CI / "github.yaml")["jobs"]["review"]["steps"]
    (used,) = (step for step in steps if "/actions/review@" in step.get("uses", ""))
    assert used["with"].keys() <= load(ACTION)["inputs"].keys()


def test_the_gitlab_job(repository: Path) -> None:
    job = load(CI / "gitlab.yaml")["raywarden"]
    ended = shell("\n".join(job["script"]), repository, {})
    assert ended.returncode == 1, ended.stderr
    for report in job["artifacts"]["reports"].values():
        assert (repository / report).stat().st_size > 0


def test_the_tekton_task(repository: Path) -> None:
    (step,) = load(CI / "tekton.yaml")["spec"]["steps"]
    assert step["args"] == ["$(params.paths[*])"]
    ended = shell(shlex.join([*step["command"], "manifests"]), repository, {})
    assert ended.returncode == 1, ended.stderr
    assert (repository / "raywarden.sarif").exists()


def test_the_argo_workflow(repository: Path) -> None:
    (template,) = load(CI / "argo-workflow.yaml")["spec"]["templates"]
    container, (report,) = template["container"], template["outputs"]["artifacts"]
    command = shlex.join([*container["command"], *container["args"]])
    ended = shell(command.replace("/tmp/", f"{repository}/"), repository, {})
    assert ended.returncode == 1, ended.stderr
    assert (repository / Path(report["path"]).name).exists()


def test_the_pre_commit_hook(repository: Path) -> None:
    (repository / "Chart.yaml").write_text("apiVersion: v2\nname: chart\n")
    (hook,) = load(REPOSITORY / ".pre-commit-hooks.yaml")
    changed = ["manifests/ray.yaml", "Chart.yaml"] if hook.get("pass_filenames", True) else []
    command = f"{hook['entry']} {shlex.join([*hook.get('args', []), *changed])}"
    ended = shell(command, repository, {})
    assert ended.returncode == 1, ended.stdout
    assert "no-public-head-service" in ended.stdout


def test_every_file_names_the_version_of_the_package() -> None:
    texts = [file.read_text() for file in (ACTION, *CI.iterdir())]
    assert all(
        __version__ in text for text in texts if "raywarden==" in text or "image: raywarden" in text
    )
