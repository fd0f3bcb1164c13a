"""A run leaves nothing behind, whatever ends it."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.matrix.record import read
from tests.node.fake_cluster import FakeCluster
from tests.node.kubectl import Kubectl
from tests.node.ownership import LABEL
from tests.node.plan import Step
from tests.node.progress import Progress
from tests.node.result import StepError
from tests.node.run import FAILED, INTERRUPTED, Run, clean
from tests.node.versions import Versions
from tests.support.paths import REPOSITORY

VERSIONS = Versions("1.36.2", "1.7.0", ("RayClusterMTLS=true",))


class Trial:
    """A run against a fake cluster whose steps create one namespace."""

    def __init__(self, folder: Path, *, keep: bool = False, versions: Versions = VERSIONS) -> None:
        self.cluster, self.lines = FakeCluster(), list[str]()
        self.records = folder / "records.jsonl"
        progress = Progress(say=self.lines.append, sleep=lambda _: None)
        self.run = Run(
            self.cluster.kubectl, progress, versions, "2.60.0", keep, records=self.records
        )

    def create(self) -> str:
        self.cluster.add("namespaces", "ray-e2e-batch", **{LABEL: "true"})
        return "created"

    def carry_out(self, *endings: type[BaseException], complete: bool = True) -> int:
        """Create a namespace, and then raise one exception in each further step."""
        steps = [Step("create", self.create)]
        for number, ending in enumerate(endings):

            def end(ending: type[BaseException] = ending) -> str:
                raise ending("no pod", "look") if ending is StepError else ending()

            steps.append(Step(f"end-{number}", end))
        return self.run.carry_out(steps, complete=complete)

    @property
    def namespaces(self) -> int:
        return len(self.cluster.objects["namespaces"])


def test_a_complete_run_is_recorded(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    before = datetime.now(UTC).date().isoformat()
    assert (trial.carry_out(), trial.namespaces) == (0, 0)
    (recorded,) = read(trial.records)
    assert before <= recorded.date <= datetime.now(UTC).date().isoformat()
    assert recorded.model_dump(exclude={"date"}) == {
        "part": "cluster",
        "kubernetes": "1.36.2",
        "kuberay": "1.7.0",
        "ray": "2.60.0",
        "settings": ("RayClusterMTLS=true",),
        "passed": 1,
        "failed": 0,
        "skipped": 0,
        "note": "",
    }
    assert "nothing is left behind" in trial.lines


def test_a_failure_cleans_up_and_is_recorded(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert (trial.carry_out(StepError), trial.namespaces) == (FAILED, 0)
    (recorded,) = read(trial.records)
    assert (recorded.passed, recorded.failed, recorded.skipped) == (1, 1, 0)


def test_a_version_that_the_cluster_does_not_say_is_recorded_as_unknown(tmp_path: Path) -> None:
    trial = Trial(tmp_path, versions=Versions("1.36.2", "", ()))
    trial.carry_out()
    (recorded,) = read(trial.records)
    assert recorded.kuberay is None


def test_a_part_of_the_steps_is_not_recorded(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert trial.carry_out(complete=False) == 0
    assert not trial.records.exists()


def test_ctrl_c_cleans_up_prints_the_table_and_records_nothing(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    assert (trial.carry_out(KeyboardInterrupt), trial.namespaces) == (INTERRUPTED, 0)
    assert not trial.records.exists()
    assert any("1 passed" in line for line in trial.lines)


def test_an_error_of_the_program_cleans_up(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    with pytest.raises(RuntimeError):
        trial.carry_out(RuntimeError)
    assert trial.namespaces == 0


def test_keep_deletes_nothing_and_says_how_to(tmp_path: Path) -> None:
    trial = Trial(tmp_path, keep=True)
    assert (trial.carry_out(), trial.namespaces) == (0, 1)
    assert any("make e2e-node CLEAN=1" in line for line in trial.lines)


def test_what_is_left_behind_is_a_failure(tmp_path: Path) -> None:
    trial = Trial(tmp_path)
    trial.cluster.broken = "priorityclasses"
    assert trial.carry_out() == FAILED
    assert any(line.startswith("not deleted: priorityclasses") for line in trial.lines)


def test_a_second_ctrl_c_ends_the_clean_up() -> None:
    def interrupted(kubectl: Kubectl, progress: Progress) -> list[str]:
        raise KeyboardInterrupt

    lines: list[str] = []
    progress = Progress(say=lines.append)
    assert clean(FakeCluster().kubectl, progress, interrupted) == INTERRUPTED
    assert "make e2e-node CLEAN=1" in lines[0]


RECORDER = """#!/bin/sh
echo "$*" >> "$RECORD"
case "$1" in
  version) echo '{"serverVersion": {"gitVersion": "v1.33.1"}}' ;;
esac
"""


def test_without_kuberay_the_program_says_so_and_changes_nothing(tmp_path: Path) -> None:
    program, recorded = tmp_path / "kubectl", tmp_path / "record"
    program.write_text(RECORDER)
    program.chmod(0o755)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.node"],
        cwd=REPOSITORY, env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "RECORD": str(recorded)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("e2e-node: KubeRay is not installed here")
    assert ended.stderr.count("\n") == 1
    verbs = {line.split()[0] for line in recorded.read_text().splitlines()}
    assert verbs == {"version", "get"}


def test_an_image_of_ray_without_a_version_is_refused() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.node", "--ray-image", "registry.example/ray:nightly"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "--ray-version" in ended.stderr
