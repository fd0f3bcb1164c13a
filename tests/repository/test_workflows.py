"""The workflows for GitHub: pinned, with few permissions, and made of commands that exist."""

import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.paths import REPOSITORY
from tests.tools.release.archives import write_checksums
from tests.tools.release.images import TARGETS

FILES = sorted((REPOSITORY / ".github" / "workflows").glob("*.yml"))
WORKFLOWS = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
MAKEFILE = (REPOSITORY / "Makefile").read_text()
# An action by its commit, and the version that a reader knows it by.
PINNED = re.compile(r"^\s*(?:- )?uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")


def read(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def jobs(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = read(file)["jobs"]
    return found


def steps(file: Path) -> Iterator[Any]:
    for job in jobs(file).values():
        yield from job["steps"]


def scripts(file: Path) -> list[str]:
    return [step["run"] for step in steps(file) if "run" in step]


def test_both_workflows_are_there() -> None:
    assert [file.stem for file in FILES] == ["audit", "release"]


@WORKFLOWS
def test_every_action_is_pinned_by_its_commit(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if "uses:" in line]
    assert lines and [line for line in lines if not PINNED.match(line)] == []


@WORKFLOWS
def test_an_action_has_one_commit_in_all_workflows(file: Path) -> None:
    pins = dict(step["uses"].split("@") for step in steps(file) if "uses" in step)
    others = [step["uses"].split("@") for other in FILES for step in steps(other) if "uses" in step]
    assert [name for name, commit in others if pins.get(name, commit) != commit] == []


@WORKFLOWS
def test_jobs_have_only_the_permissions_that_they_name(file: Path) -> None:
    assert read(file)["permissions"] == {}
    for name, job in jobs(file).items():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert not writes or name == "publish"


def test_only_the_job_that_runs_no_code_of_packages_may_sign_and_publish() -> None:
    release = jobs(REPOSITORY / ".github" / "workflows" / "release.yml")
    publish = release["publish"]
    assert publish["permissions"].keys() == {"contents", "id-token", "attestations"}
    assert publish["environment"] == "release" and publish["needs"] == "build"
    used = " ".join(step.get("uses", "") + step.get("run", "") for step in publish["steps"])
    assert "actions/checkout" not in used and not re.search(r"\b(make|pip|python)\b", used)
    assert "secrets." not in str(release["build"])


@WORKFLOWS
def test_a_checkout_keeps_no_credentials(file: Path) -> None:
    for step in steps(file):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@WORKFLOWS
def test_scripts_are_valid_and_take_values_from_the_environment(file: Path) -> None:
    assert scripts(file)
    for script in scripts(file):
        checked = subprocess.run(
            ["bash", "-n"], input=script, capture_output=True, text=True, check=False
        )
        assert (checked.returncode, checked.stderr) == (0, ""), script
        # An expression in a script becomes part of it, and could contain commands.
        assert "${{" not in script


@WORKFLOWS
def test_every_make_target_exists(file: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
    called = {
        word
        for script in scripts(file)
        for line in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", script)
        for word in line.split()
    }
    assert called and called <= targets


def test_publishing_signs_digests_and_not_tags(tmp_path: Path) -> None:
    """The scripts as written, with programs that only note how they are called."""
    tools, digest = tmp_path / "tools", f"sha256:{'a' * 64}"
    tools.mkdir()
    for name in ("cosign", "docker", "gh", "helm", "jq", "skopeo"):
        (tools / name).write_text(
            f'#!/bin/sh\necho {name} "$@" >> "$CALLS"\ncase "$*" in *-stdin*) cat;; esac\n'
            f"[ {name} = jq ] && echo {digest}\n[ {name} = helm ] && echo Digest: {digest}\ntrue\n"
        )
        (tools / name).chmod(0o755)
    _write_builds(tmp_path)
    variables = {
        "PATH": f"{tools}:/usr/bin:/bin", "CALLS": str(tmp_path / "calls"), "TAG": "v0.1.0",
        "REPOSITORY": "images.example/team/raywarden", "GITHUB_REPOSITORY": "team/raywarden",
        "GITHUB_OUTPUT": str(tmp_path / "output"), "REGISTRY_USER": "ci", "REGISTRY_PASSWORD": "x",
    }  # fmt: skip
    publish = jobs(REPOSITORY / ".github" / "workflows" / "release.yml")["publish"]
    for script in (step["run"] for step in publish["steps"] if "run" in step):
        subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            cwd=tmp_path, env=variables, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    calls = (tmp_path / "calls").read_text()
    image, chart = f"images.example/team/raywarden@{digest}", "images.example/team/charts/raywarden"
    for pushed in ("raywarden:0.1.0", "raywarden:0.1.0-enroll"):
        assert f"docker://images.example/team/{pushed}\n" in calls
    assert calls.count(f"cosign sign --yes --recursive {image}\n") == 2
    assert f"--predicate first/raywarden-enroll-0.1.0.image.cdx.json {image}\n" in calls
    assert f"cosign sign --yes {chart}@{digest}\n" in calls
    assert "first/SHA256SUMS\n" in calls and "gh release create v0.1.0" in calls
    assert f"raywarden-enroll={digest}\n" in (tmp_path / "output").read_text()


def _write_builds(folder: Path) -> None:
    """Write what two machines have built: images, a chart, and their checksums."""
    layout = folder / "index.json"
    layout.write_text("{}")
    for copy in (folder / "first", folder / "second"):
        copy.mkdir()
        for name in TARGETS:
            with tarfile.open(copy / f"{name}-0.1.0.oci.tar", "w") as archive:
                archive.add(layout, "index.json")
        (copy / "raywarden-0.1.0.tgz").touch()
        write_checksums(copy)


def test_builds_that_differ_are_not_published(tmp_path: Path) -> None:
    publish = jobs(REPOSITORY / ".github" / "workflows" / "release.yml")["publish"]
    _write_builds(tmp_path)
    (compare,) = [
        step["run"] for step in publish["steps"] if step.get("name", "").startswith("Comp")
    ]
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", compare]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 0
    (tmp_path / "second" / "raywarden-0.1.0.tgz").write_text("other")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True, check=False).returncode == 1
