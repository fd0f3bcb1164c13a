"""Properties of the Dockerfile that can be tested without a builder; `make image-steps` runs it."""

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

# The image of the init container, and that of the server, which is built if no target is named.
IMAGES = pytest.mark.parametrize("image", stages()[1:], ids=["enroll", "server"])


@pytest.fixture
def last() -> Stage:
    return stages()[-1]


@pytest.fixture
def project() -> Any:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]


@IMAGES
def test_the_entry_point_is_a_script_of_the_project(image: Stage, project: Any) -> None:
    (command,) = json.loads(image.last("ENTRYPOINT").value)
    assert command in project["scripts"]


def test_the_image_of_the_init_container_has_no_base() -> None:
    _, enroll, _ = stages()
    assert (enroll.base, enroll.name) == ("scratch", "enroll")
    assert json.loads(enroll.last("CMD").value) == ["enroll"]


def test_the_default_command_is_the_server(last: Stage) -> None:
    arguments = json.loads(last.last("CMD").value)
    command = [sys.executable, "-m", "webhook", *arguments, "--help"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "until SIGTERM" in process.stdout


def test_the_image_of_the_init_container_has_no_other_command() -> None:
    other = subprocess.run(
        [sys.executable, "-m", "webhook.agent", "serve"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert other.returncode == 1
    assert "this image only has `raywarden enroll`" in other.stderr


@IMAGES
def test_the_user_is_numeric_and_not_root(image: Stage) -> None:
    user, group = image.last("USER").value.split(":")
    assert int(user) > 0 and int(group) > 0


def test_the_exposed_ports_are_those_of_the_server(last: Stage) -> None:
    ports = {
        name: field.default
        for name, field in Settings.model_fields.items()
        if name.endswith("_port")
    }
    assert len(ports) == 3
    assert {int(port) for port in last.last("EXPOSE").words} == set(ports.values())


@IMAGES
def test_the_labels_agree_with_the_project(image: Stage, project: Any) -> None:
    arguments: dict[str, str] = {}
    for step in image.all("ARG"):
        arguments |= step.pairs({})
    prefix = "org.opencontainers.image."
    pairs = image.last("LABEL").pairs(arguments)
    labels = {name.removeprefix(prefix): value for name, value in pairs.items()}
    assert labels.keys() == {"title", "description", "licenses", "version"}
    assert (labels["licenses"], labels["version"]) == (project["license"], project["version"])


@IMAGES
def test_an_image_runs_and_downloads_nothing(image: Stage) -> None:
    assert not image.all("RUN") and not image.all("ADD")
    assert [step.words[0] for step in image.all("COPY")] == ["--from=build"]


def test_every_package_is_installed_by_hash_or_without_a_network() -> None:
    commands = [line for step in stages()[0].all("RUN") for line in step.value.split("&&")]
    installs = [command for command in commands if " install " in command]
    assert len(installs) == 3
    for command in installs:
        assert re.search(r" --require-hashes -r \w+\.lock| --no-deps --no-index ", command)


def test_the_build_context_holds_only_what_is_copied() -> None:
    copied = {source for step in stages()[0].all("COPY") for source in step.words[:-1]}
    tops = {path.partition("/")[0] for path in context() if not path.startswith("deploy/image/")}
    assert {*tops, "deploy/image"} == copied
    assert not [path for path in context() if path.endswith(".pyc")]


@pytest.mark.parametrize(
    "wrong", ["FROM python\n", "FROM python:3\nRUN cd /tmp\n", "FROM python:3\nCMD raywarden\n"]
)
def test_hadolint_fails_for_a_bad_dockerfile(wrong: str, tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text(wrong)
    linter = Path(sys.executable).parent / "hadolint"
    process = subprocess.run([linter, file], capture_output=True, timeout=60, check=False)
    assert process.returncode == 1
