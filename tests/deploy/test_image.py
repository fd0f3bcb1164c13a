"""What the Dockerfile promises, as far as that can be seen without a builder; `make image-steps` carries it out."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import REPOSITORY
from tests.tools.dockerfile import Stage, context, stages
from webhook.settings import Settings


@pytest.fixture
def last() -> Stage:
    return stages()[-1]


@pytest.fixture
def project() -> Any:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


def test_the_entry_point_is_a_command_of_ours(last: Stage, project: Any) -> None:
    (command,) = json.loads(last.last("ENTRYPOINT").value)
    assert command in project["scripts"]


def test_what_it_runs_by_itself_is_a_command(last: Stage) -> None:
    command = json.loads(last.last("CMD").value)
    asked = [sys.executable, "-m", "webhook", *command, "--help"]
    assert (
        "until SIGTERM"
        in subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True).stdout
    )


def test_its_user_is_a_number_and_not_root(last: Stage) -> None:
    user, group = last.last("USER").value.split(":")
    assert int(user) > 0 and int(group) > 0


def test_its_ports_are_those_the_server_opens(last: Stage) -> None:
    ports = {
        name: field.default
        for name, field in Settings.model_fields.items()
        if name.endswith("_port")
    }
    assert len(ports) == 3
    assert {int(port) for port in last.last("EXPOSE").words} == set(ports.values())


def test_its_labels_say_what_the_project_says(last: Stage, project: Any) -> None:
    arguments: dict[str, str] = {}
    for step in last.all("ARG"):
        arguments |= step.pairs({})
    labels = last.last("LABEL").pairs(arguments)
    said = {name.removeprefix("org.opencontainers.image."): value for name, value in labels.items()}
    assert said.keys() == {"title", "description", "licenses", "version"}
    assert (said["licenses"], said["version"]) == (project["license"], project["version"])


def test_nothing_is_run_or_fetched_in_what_is_shipped(last: Stage) -> None:
    assert not last.all("RUN") and not last.all("ADD")
    assert [step.words[0] for step in last.all("COPY")] == ["--from=build"]


def test_every_installation_is_by_hash_or_without_a_network() -> None:
    build = stages()[0]
    installed = [
        line for step in build.all("RUN") for line in step.value.split("&&") if " install " in line
    ]
    assert len(installed) == 3
    assert all(
        re.search(r" --require-hashes -r \w+\.lock| --no-deps --no-index ", line)
        for line in installed
    )


def test_a_builder_sees_what_is_copied_and_nothing_else() -> None:
    copied = {source for step in stages()[0].all("COPY") for source in step.words[:-1]}
    assert {path.partition("/")[0] for path in context()} == copied
    assert not [path for path in context() if path.endswith(".pyc")]


@pytest.mark.parametrize(
    "wrong", ["FROM python\n", "FROM python:3\nRUN cd /tmp\n", "FROM python:3\nCMD raywarden\n"]
)
def test_the_linter_of_make_check_finds_what_is_wrong(wrong: str, tmp_path: Path) -> None:
    (file := tmp_path / "Dockerfile").write_text(wrong)
    linter = Path(sys.executable).parent / "hadolint"
    assert (
        subprocess.run([linter, file], capture_output=True, timeout=60, check=False).returncode == 1
    )
