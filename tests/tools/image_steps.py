"""`make image-steps`: runs the steps of the Dockerfile without a builder and tests the result.

A folder stands for the root file system of each stage, and the Python of this machine for that of
the base image. The build stage runs as written. Only the files that the last stage copies are kept.
They are started as a container would start them: with the ENV, USER, ENTRYPOINT and CMD of the
image alone, in an empty folder.
"""

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.paths import REPOSITORY
from tests.tools.dockerfile import Stage, context, stages
from webhook import __version__

_ABSOLUTE = re.compile(r"(?<![^\s=:])/")
_NAME = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
_EXAMPLES = REPOSITORY / "deploy" / "examples"
_LOOPBACK = {
    "RAYWARDEN_HOST": "127.0.0.1",
    "RAYWARDEN_ADMISSION_PORT": "0",
    "RAYWARDEN_ENROLLMENT_PORT": "0",
}
_FREE_PORTS = {**_LOOPBACK, "RAYWARDEN_OPERATIONS_PORT": "0"}
# An odd number, so that the median is a measured value.
_STARTS = 7
# The flags in a bytecode file (PEP 552): it is validated by hash, and the hash is not checked.
_UNCHECKED = 0b01


def main() -> None:
    """Build, inspect and run the image; a failed assertion says what is wrong with it."""
    build, last = stages()
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        # The user of the image must be able to read what the user who builds it has written.
        folder.chmod(0o755)
        took = _timed(lambda: _build(build, folder / "root"))
        _line("build stage", f"{took:.1f} s with Python {sys.version.partition(' ')[0]}")
        image = _image(last, folder)
        _inspect(folder / "root" / "opt" / "raywarden")
        before = _state(folder / "root")
        _run_commands(image, folder)
        assert _state(folder / "root") == before, "a command wrote into the image"


@dataclass(frozen=True, slots=True)
class Image:
    """The configuration of the image, which says how to start a container."""

    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: int
    directory: Path

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a container of this image, with additional variables.

        It runs as the USER of the image if this process may change its user.
        """
        user = self.user if _may_change_user() else None
        return subprocess.Popen(
            [*self.entrypoint, *(arguments or self.command)],
            env={**self.environment, **variables}, cwd=self.directory, user=user, group=user,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, exits: int = 0) -> str:
        """Run a container; returns its output. It must end with the exit code `exits`."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == exits, (
            f"{arguments} ended with {process.returncode}: {out}{err}"
        )
        return out


def _may_change_user() -> bool:
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


def _build(stage: Stage, root: Path) -> None:
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
                    f"tests/tools/image_steps.py does not support {other}; implement it there"
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


def _image(stage: Stage, folder: Path) -> Image:
    """Build the last stage from the files that it copies from the first, and nothing else."""
    root, built, directory = folder / "root", folder / "built", folder / "empty"
    root.rename(built)
    environment = _base(root)
    for step in stage.all("COPY"):
        option, source, target = step.words
        assert option == "--from=build", (
            f"COPY {step.value}: the last stage may copy only from the build stage"
        )
        shutil.copytree(_in(built, source), _in(root, target), symlinks=True)
    shutil.rmtree(built)
    for step in stage.all("ENV"):
        environment |= {name: _in(root, value) for name, value in step.pairs(environment).items()}
    directory.mkdir()
    entrypoint, command = (
        tuple(json.loads(stage.last(name).value)) for name in ("ENTRYPOINT", "CMD")
    )
    user = int(stage.last("USER").value.partition(":")[0])
    return Image(environment, entrypoint, command, user, directory)


def _in(root: Path, text: str) -> str:
    """The text with each absolute path moved below `root`, unless it is there already."""

    def move(match: re.Match[str]) -> str:
        return match[0] if text.startswith(str(root), match.start()) else f"{root}/"

    return _ABSOLUTE.sub(move, text)


def _inspect(environment: Path) -> None:
    """Assert that the environment holds only what runs, unchanged and compiled."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    installed = {
        # As in the lock file (PEP 503).
        re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()
        for distribution in distributions(path=[str(packages)])
    }
    locked = set(_NAME.findall((REPOSITORY / "requirements.lock").read_text()))
    unexpected = installed - locked - {"raywarden"}
    assert not unexpected, f"not in requirements.lock: {unexpected}"
    assert "raywarden" in installed
    for name in ("tests", "deploy", "pip", "setuptools"):
        assert not (packages / name).exists(), f"{name} is in the image"
    own = [path for path in context() if path.partition("/")[0] in ("certs", "policies", "webhook")]
    for path in own:
        is_same = (packages / path).read_bytes() == (REPOSITORY / path).read_bytes()
        assert is_same, f"{path} differs in the image"
    for source in environment.rglob("*.py"):
        compiled = Path(cache_from_source(str(source)))
        assert compiled.exists(), f"{source} is not compiled"
        flags = compiled.read_bytes()[4]
        assert flags == _UNCHECKED, f"{compiled} depends on the time of its source"
    files = [file for file in environment.rglob("*") if file.is_file() and not file.is_symlink()]
    size = sum(file.stat().st_size for file in files) / 2**20
    _line(
        "environment",
        f"{size:.0f} MiB in {len(files)} files, {len(installed)} distributions, "
        f"{len(own)} files of RayWarden",
    )


def _run_commands(image: Image, folder: Path) -> None:
    """Run each command once in a container, and measure how long `enroll` and `serve` start."""
    _line("run as user", str(image.user if _may_change_user() else os.geteuid()))
    assert image.run("--version") == f"raywarden {__version__}\n"
    assert len(image.run("rules").splitlines()) > 28
    assert "\nFixed:\n" in image.run("rules", "explain", "tls-on")
    assert "$schema" in image.run("rules", "schema")
    mounted = folder / "mounted"
    shutil.copytree(_EXAMPLES, mounted)
    image.run("review", str(mounted / "01-good-raycluster.json"))
    refused = image.run("review", str(mounted / "05-public-dashboard.json"), exits=1)
    assert "no-public-head-service" in refused
    enroll = [_timed(lambda: image.run("enroll", "--help")) for _ in range(_STARTS)]
    _line("enroll --help", _figures(enroll))
    _line("serve --dev until ready", _figures(_ready_after(image) for _ in range(_STARTS)))


def _ready_after(image: Image) -> float:
    """Seconds from the start of a server on free ports until it logs "ready".

    `/readyz` must agree, and the server must end with exit code 0.
    """
    started = time.perf_counter()
    with image.start(*image.command, "--dev", **_FREE_PORTS) as process:
        assert process.stdout
        try:
            events = (json.loads(line) for line in process.stdout)
            ports = next((event["ports"] for event in events if event["event"] == "ready"), None)
            took = time.perf_counter() - started
            assert ports, "serve ended before it was ready"
            readyz = f"http://127.0.0.1:{ports[2]}/readyz"
            with urllib.request.urlopen(readyz, timeout=10) as response:
                assert response.read() == b"ok\n"
        finally:
            process.send_signal(signal.SIGTERM)
            _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, ""), f"serve ended with {process.returncode}: {err}"
    return took


def _state(root: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in root.rglob("*")}


def _timed(act: Callable[[], object]) -> float:
    started = time.perf_counter()
    act()
    return time.perf_counter() - started


def _figures(seconds: Iterable[float]) -> str:
    took = sorted(seconds)
    return f"{statistics.median(took) * 1e3:.0f} ms, at most {took[-1] * 1e3:.0f}"


def _line(title: str, figures: str) -> None:
    print(f"{title:<26}{figures}", flush=True)


if __name__ == "__main__":
    main()
