"""Builds the stages of the Dockerfile in folders, without a builder, and starts the images."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import REPOSITORY
from tests.tools.dockerfile import Stage, context

_ABSOLUTE = re.compile(r"(?<![^\s=:])/")


@dataclass(frozen=True, slots=True)
class Image:
    """The configuration of the image, which says how to start a container."""

    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: int
    directory: Path
    root: Path
    is_alone: bool

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a container of this image, with additional variables.

        It runs as the USER of the image if this process may change its user. An image without a
        base image sees only its own files, which needs root.
        """
        command = [*self.entrypoint, *(arguments or self.command)]
        user = self.user if may_change_user() else None
        if self.is_alone:
            user, ids = None, f"--userspec={self.user}:{self.user}"
            command = [shutil.which("chroot") or "chroot", ids, str(self.root), *command]
        return subprocess.Popen(
            command,
            env={**self.environment, **variables}, cwd=self.directory, user=user, group=user,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, exits: int = 0, **variables: str) -> str:
        """Run a container; returns its output. It must end with the exit code `exits`."""
        with self.start(*arguments, **variables) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == exits, (
            f"{arguments} ended with {process.returncode}: {out}{err}"
        )
        return out


def may_change_user() -> bool:
    """Whether this process may become another user, who can then read and run this Python."""
    interpreter = _interpreter()
    path = (interpreter, *interpreter.parents)
    return os.geteuid() == 0 and all(part.stat().st_mode & 0o005 == 0o005 for part in path)


def _interpreter() -> Path:
    return Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()


def _base(root: Path) -> dict[str, str]:
    """Create the base image: `python` on the PATH and nothing else; returns its environment."""
    binaries = root / "usr" / "local" / "bin"
    binaries.mkdir(parents=True)
    for name in ("python", "python3"):
        (binaries / name).symlink_to(_interpreter())
    return {"PATH": f"{binaries}:/usr/bin:/bin"}


def build(stage: Stage, root: Path) -> None:
    """Execute WORKDIR, COPY and RUN, with the pip settings of this machine."""
    files = {path: REPOSITORY / path for path in context()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment, directory = {**inherited, **_base(root)}, root
    for step in stage.steps:
        match step.instruction:
            case "WORKDIR":
                directory = Path(_in(root, step.value))
                directory.mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = step.words
                into = len(sources) > 1 or target.endswith("/")
                _copy(files, sources, directory / target, into)
            case "RUN":
                _shell(_in(root, step.value), environment, directory)
            case other:
                raise AssertionError(
                    f"tests/tools/built_image.py does not support {other}; implement it there"
                )


def _shell(command: str, environment: Mapping[str, str], directory: Path) -> None:
    process = subprocess.run(
        ["/bin/sh", "-ec", command], env=environment, cwd=directory,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    code = process.returncode
    assert code == 0, f"RUN {command} ended with exit code {code}: {process.stdout}"


def _copy(files: Mapping[str, Path], sources: Sequence[str], target: Path, into: bool) -> None:
    for source in sources:
        copied = {
            path: file
            for path, file in files.items()
            if path == source or path.startswith(f"{source}/")
        }
        assert copied, f"COPY {source}: .dockerignore excludes all of it"
        for path, file in copied.items():
            destination = target / source if into else target
            if path != source:
                destination /= os.path.relpath(path, source)
            destination.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, destination)


def image_of(stage: Stage, built: Path, root: Path) -> Image:
    """The image of a stage, in the folder `root`: only what it copies from the build stage."""
    is_alone = stage.base == "scratch"
    environment = {} if is_alone else _base(root)
    for step in stage.all("COPY"):
        option, source, target = step.words
        assert option == "--from=build", (
            f"COPY {step.value}: an image may copy only from the build stage"
        )
        place = _in(root, target)
        shutil.copytree(_in(built, source), place, symlinks=True, dirs_exist_ok=True)
    for step in stage.all("ENV"):
        pairs = step.pairs(environment).items()
        # A program that sees only the image's own files also sees them at their places.
        environment |= dict(pairs) if is_alone else {name: _in(root, text) for name, text in pairs}
    directory = root.with_name(f"{root.name}-empty")
    directory.mkdir()
    entrypoint, command = (
        tuple(json.loads(stage.last(name).value)) for name in ("ENTRYPOINT", "CMD")
    )
    user = int(stage.last("USER").value.partition(":")[0])
    return Image(environment, entrypoint, command, user, directory, root, is_alone)


def _in(root: Path, text: str) -> str:
    """The text with each absolute path moved below `root`, unless it is there already."""

    def move(match: re.Match[str]) -> str:
        return match[0] if text.startswith(str(root), match.start()) else f"{root}/"

    return _ABSOLUTE.sub(move, text)
