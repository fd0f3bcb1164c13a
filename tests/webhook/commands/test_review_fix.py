"""`raywarden review --fix`, as people and CI jobs run it."""

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support import factory
from tests.webhook.commands.test_cli import run, write

PUBLIC = factory.changed(factory.ray_cluster(), {"/spec/headGroupSpec/serviceType": "NodePort"})
TEXT = """\
# Our cluster.
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: a, namespace: team-a}
spec:
  rayVersion: 2.60.0   # tested
  headGroupSpec:
    serviceType: NodePort
    rayStartParams: {}
    template:
      spec:
        serviceAccountName: ray
        hostNetwork: true
        containers:
          - name: ray-head
            image: rayproject/ray:2.60.0
            resources:
              limits: {cpu: '4', memory: 16Gi}
"""
FIXED = TEXT.replace("NodePort", "ClusterIP").replace("        hostNetwork: true\n", "")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.yaml"
    path.write_text(TEXT)
    return path


def test_the_file_is_fixed_once_and_the_rest_is_reported(file: Path) -> None:
    ended = run("review", "--fix", str(file))
    assert ended.returncode == 0, ended.stderr
    assert file.read_text() == FIXED
    assert f"fixed {file}: no-public-head-service, no-host-access" in ended.stderr
    assert "2 findings fixed" in ended.stderr
    assert "serviceType" not in ended.stdout and "namespace-quota" in ended.stdout
    before = file.stat()
    again = run("review", "--fix", str(file))
    assert again.returncode == 0 and "0 findings fixed" in again.stderr
    assert file.stat() == before


def test_all_also_chooses_values(file: Path) -> None:
    ended = run("review", "--fix=all", str(file))
    assert ended.returncode == 0, ended.stderr
    assert file.read_text().startswith(FIXED)
    assert "kind: ResourceQuota" in file.read_text()


def test_a_dry_run_prints_a_patch_and_writes_nothing(file: Path) -> None:
    ended = run("review", "--fix", "--dry-run", "-o", f"json={file.parent / 'report'}", str(file))
    assert ended.returncode == 1
    assert file.read_text() == TEXT
    assert ended.stdout.startswith(f"--- {file}\n+++ {file}\n@@")
    assert f"would fix {file}" in ended.stderr and "2 findings can be fixed" in ended.stderr
    assert json.loads((file.parent / "report").read_text())
    patch = subprocess.run(
        ["patch", "-p0", str(file)], input=ended.stdout, text=True, capture_output=True, check=False
    )
    assert patch.returncode == 0, patch.stdout
    assert file.read_text() == FIXED


def test_the_report_of_a_dry_run_leaves_standard_output_to_the_patch(file: Path) -> None:
    ended = run("review", "--fix", "--dry-run", str(file))
    assert "error no-public-head-service" in ended.stderr
    assert "error no-public-head-service" not in ended.stdout


def test_standard_input_is_printed_with_its_fixes() -> None:
    ended = run("review", "--fix", "-", stdin=TEXT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == FIXED
    assert "1 reviewed, 0 denied" in ended.stderr


def test_what_helm_rendered_is_printed_as_it_is() -> None:
    text = f"---\n# Source: ray/templates/cluster.yaml\n{TEXT}"
    ended = run("review", "--fix", "-", stdin=text)
    assert ended.returncode == 1 and ended.stdout == text
    reason = "Helm rendered it: change ray/templates/cluster.yaml or its values"
    assert f"no-host-access: {reason}" in ended.stderr


def test_a_file_that_cannot_be_written_keeps_no_other_back(file: Path) -> None:
    other = file.with_name("b.yaml")
    other.write_text(TEXT.replace("name: a,", "name: b,"))
    file.chmod(0o444)
    ended = run("review", "--fix", str(file.parent))
    assert ended.returncode == 2
    assert f"could not write {file}: it is read-only" in ended.stderr
    assert file.read_text() == TEXT and "ClusterIP" in other.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o444
    assert f"{file}:8:18: error no-public-head-service" in ended.stdout
    assert f"{other}:8" not in ended.stdout
    assert "2 reviewed, 1 denied" in ended.stdout


def test_a_patch_of_kustomize_stays(file: Path) -> None:
    (file.parent / "kustomization.yaml").write_text("patches: [{path: a.yaml}]\n")
    ended = run("review", "--fix", str(file))
    assert ended.returncode == 1 and file.read_text() == TEXT
    assert "no-host-access: kustomize applies it as a patch" in ended.stderr


def test_findings_of_a_lower_severity_are_left(file: Path) -> None:
    run("review", "--fix", "--min-severity", "critical", str(file))
    assert "hostNetwork: true" in file.read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dry-run"], "--dry-run needs --fix"),
        (["--fix", "--patch"], "use either --fix or --patch"),
    ],
)
def test_options_that_do_not_go_together(tmp_path: Path, options: list[str], message: str) -> None:
    ended = run("review", *options, write(tmp_path, "a.yaml", PUBLIC))
    assert ended.returncode == 2 and message in ended.stderr


def test_the_next_argument_is_a_file(tmp_path: Path) -> None:
    ended = run("review", "--fix", "all")
    assert ended.returncode == 2
    assert "all: could not be read: No such file or directory" in ended.stdout + ended.stderr
    assert run("review", "--fix=some", str(tmp_path)).returncode == 2
    dashed = run("review", "--", "--fix")
    assert "--fix: could not be read" in dashed.stdout + dashed.stderr


def test_remedies_that_contradict_each_other_are_settled_at_once(file: Path) -> None:
    # One remedy quotes the value, the other replaces it.
    text = TEXT.replace("spec:\n  ray", "spec:\n  authOptions:\n    mode: true\n  ray")
    file.write_text(text)
    run("review", "--fix", str(file))
    once = file.read_text()
    assert "mode: token\n" in once
    run("review", "--fix", str(file))
    assert file.read_text() == once


def test_the_name_of_a_file_forges_no_lines(tmp_path: Path) -> None:
    file = tmp_path / "a\n::error::x\x1b[31m.yaml"
    file.write_text(TEXT)
    checked = run("review", "--fix", "--dry-run", str(tmp_path))
    fixed = run("review", "--fix", str(tmp_path))
    written = checked.stdout + checked.stderr + fixed.stdout + fixed.stderr
    assert "fixed" in fixed.stderr and file.read_text() == FIXED
    assert "\x1b" not in written
    assert not [line for line in written.splitlines() if line.startswith("::")]


def test_a_patch_of_a_file_whose_name_is_not_utf_8(tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xff.yaml"))
    file.write_text(TEXT)
    ended = run("review", "--fix", "--dry-run", str(tmp_path))
    assert ended.returncode == 1, ended.stderr
    assert "+    serviceType: ClusterIP" in ended.stdout


@pytest.mark.parametrize("name", [b"a\nkind: Pod\n---\nb.yaml", b"a\xff.yaml"])
def test_the_name_of_a_file_is_no_part_of_a_patched_manifest(tmp_path: Path, name: bytes) -> None:
    file = Path(write(tmp_path, "a.yaml", factory.ray_cluster()))
    file.rename(os.fsdecode(os.fsencode(tmp_path) + b"/" + name))
    ended = run("review", "--patch", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert [document["kind"] for document in yaml.safe_load_all(ended.stdout)] == ["RayCluster"]
