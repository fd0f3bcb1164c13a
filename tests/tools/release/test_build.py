"""`make release`: the same commit gives the same bytes, and checksums that detect a change."""

import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.release import ReleaseError
from tests.tools.release.__main__ import main, release
from tests.tools.release.archives import CHECKSUMS, sha256, tar_gz
from tests.tools.release.conftest import EPOCH

Build = Callable[[Path, str], Path]
CHART = "deploy/charts/raywarden"


@pytest.fixture
def chart(source: Path) -> Path:
    """A source with a chart: its own, or a small one."""
    if not (source / CHART).exists():
        (source / CHART / "templates").mkdir(parents=True)
        (source / CHART / "Chart.yaml").write_text("version: 0.1.0\nappVersion: 0.1.0\n")
        (source / CHART / "templates" / "NOTES.txt").write_text("Next: raywarden check\n")
    return source


def test_two_builds_have_equal_checksums(chart: Path, tmp_path: Path, build: Build) -> None:
    first = build(chart, "first")
    other = shutil.copytree(chart, tmp_path / "elsewhere" / "copy")
    for file in other.rglob("*"):
        file.chmod(file.stat().st_mode & 0o700)
        os.utime(file, (EPOCH + 86400, EPOCH + 86400))
    second = build(other, "second")
    assert (first / CHECKSUMS).read_text() == (second / CHECKSUMS).read_text()
    assert sorted(file.name for file in first.iterdir()) == [
        "SHA256SUMS",
        "raywarden-0.1.0-py3-none-any.whl",
        "raywarden-0.1.0.notes.md",
        "raywarden-0.1.0.sbom.cdx.json",
        "raywarden-0.1.0.tar.gz",
        "raywarden-0.1.0.tgz",
    ]


def test_other_content_has_other_checksums(source: Path, build: Build) -> None:
    first = build(source, "first")
    with (source / "webhook" / "ports.py").open("a") as changed:
        changed.write("# one more line\n")
    second = build(source, "second")
    assert (first / CHECKSUMS).read_text() != (second / CHECKSUMS).read_text()


def test_sha256sum_detects_a_changed_file(source: Path, build: Build) -> None:
    folder = build(source, "built")
    command = ["sha256sum", "--check", "--quiet", CHECKSUMS]
    assert subprocess.run(command, cwd=folder, check=False).returncode == 0
    wheel = next(folder.glob("*.whl"))
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    wheel.write_bytes(content)
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert f"{wheel.name}: FAILED" in ended.stdout


def test_the_wheel_holds_what_runs_and_nothing_else(source: Path, build: Build) -> None:
    wheel = next(build(source, "built").glob("*.whl"))
    members = zipfile.ZipFile(wheel).infolist()
    tops = {member.filename.partition("/")[0] for member in members}
    assert tops == {"certs", "policies", "webhook", "raywarden-0.1.0.dist-info"}
    assert {member.date_time[:3] for member in members} == {(2023, 11, 14)}


def test_an_archive_does_not_depend_on_the_machine(tmp_path: Path) -> None:
    folder = tmp_path / "chart"
    folder.mkdir()
    for name in ("b", "a"):
        (folder / name).write_text(name)
        (folder / name).chmod(0o640)
    tar_gz(folder, tmp_path / "chart.tgz", EPOCH)
    with tarfile.open(tmp_path / "chart.tgz") as archive:
        members = archive.getmembers()
    assert [member.name for member in members] == ["chart/a", "chart/b"]
    assert {(m.mode, m.uid, m.gid, m.uname, m.mtime) for m in members} == {(0o644, 0, 0, "", EPOCH)}
    assert (tmp_path / "chart.tgz").read_bytes()[:8] == b"\x1f\x8b\x08\x00" + EPOCH.to_bytes(
        4, "little"
    )
    assert len(sha256(tmp_path / "chart.tgz")) == 64


def test_a_folder_with_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.whl").touch()
    with pytest.raises(ReleaseError, match="is not empty"):
        release(tmp_path, "", "")
    with pytest.raises(SystemExit, match=r"^release: .* is not empty"):
        main(tmp_path)
