"""`make image-steps`: what the Dockerfile says, carried out without a builder, and what comes of it, tried.

A folder stands for the root of each stage's file system, and Python here for that of its base image. The build stage is
run as it is written; of it, only what the last stage copies is kept, and started as the image would be: by its ENV,
USER, ENTRYPOINT and CMD alone, in an empty folder.
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
_STARTS = 7
# Python's flags in a file of bytecode: by a hash, which is not looked at.
_UNCHECKED = 0b01


def main() -> None:
    """Carry out, look, try; a failed assertion says what is wrong with the image."""
    build, last = stages()
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        # The image's user is another than the one who builds it.
        folder.chmod(0o755)
        took = _timed(lambda: _build(build, folder / "root"))
        _line("build stage", f"{took:.1f} s with Python {sys.version.partition(' ')[0]}")
        image = _image(last, folder)
        _look_at(folder / "root" / "opt" / "raywarden")
        before = _state(folder / "root")
        _try(image, folder)
        assert _state(folder / "root") == before, "something was written into the image"


@dataclass(frozen=True, slots=True)
class Image:
    """How a container is started: what of the last stage is not files."""

    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    user: int
    directory: Path

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """A container of this image, with further variables; as its USER where we may become somebody else."""
        user = self.user if _may_be_anybody() else None
        return subprocess.Popen(
            [*self.entrypoint, *(arguments or self.command)],
            env={**self.environment, **variables}, cwd=self.directory, user=user, group=user,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str, exits: int = 0) -> str:
        """What it prints; it must end with this code."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=60)
        assert process.returncode == exits, (
            f"{arguments} ended with {process.returncode}: {out}{err}"
        )
        return out


def _may_be_anybody() -> bool:
    """Whether we may become another user, who then finds his way to this Python."""
    interpreter = _interpreter()
    return os.geteuid() == 0 and all(
        part.stat().st_mode & 0o005 == 0o005 for part in (interpreter, *interpreter.parents)
    )


def _interpreter() -> Path:
    return Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()


def _base(root: Path) -> dict[str, str]:
    """The base image: `python` on the path, and nothing else of ours; gives its environment."""
    (binaries := root / "usr" / "local" / "bin").mkdir(parents=True)
    for name in ("python", "python3"):
        (binaries / name).symlink_to(_interpreter())
    return {"PATH": f"{binaries}:/usr/bin:/bin"}


def _build(stage: Stage, root: Path) -> None:
    """Carry out WORKDIR, COPY and RUN, with this machine's settings for pip."""
    seen = {path: REPOSITORY / path for path in context()}
    ours = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment, directory = {**ours, **_base(root)}, root
    for step in stage.steps:
        match step.instruction:
            case "WORKDIR":
                (directory := Path(_in(root, step.value))).mkdir(parents=True, exist_ok=True)
            case "COPY":
                *sources, target = step.words
                _copy(
                    seen, sources, directory / target, into=len(sources) > 1 or target.endswith("/")
                )
            case "RUN":
                _shell(_in(root, step.value), environment, directory)
            case other:
                raise AssertionError(
                    f"{other} is not known here: teach it to tests/tools/image_steps.py"
                )


def _shell(command: str, environment: Mapping[str, str], directory: Path) -> None:
    ended = subprocess.run(
        ["/bin/sh", "-ec", command], env=environment, cwd=directory,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, f"RUN {command} ended with {ended.returncode}: {ended.stdout}"


def _copy(seen: Mapping[str, Path], sources: Sequence[str], target: Path, into: bool) -> None:
    for source in sources:
        files = {
            path: file
            for path, file in seen.items()
            if path == source or path.startswith(f"{source}/")
        }
        assert files, f"COPY {source}: .dockerignore lets nothing of it through"
        for path, file in files.items():
            place = target / source if into else target
            place = place / os.path.relpath(path, source) if path != source else place
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)


def _image(stage: Stage, folder: Path) -> Image:
    """The last stage: its COPY --from out of the first, and nothing else of that is left."""
    root, built, directory = folder / "root", folder / "built", folder / "empty"
    root.rename(built)
    environment = _base(root)
    for step in stage.all("COPY"):
        option, source, target = step.words
        assert option == "--from=build", (
            f"COPY {step.value}: only what was built belongs into the image"
        )
        shutil.copytree(_in(built, source), _in(root, target), symlinks=True)
    shutil.rmtree(built)
    for step in stage.all("ENV"):
        environment |= {name: _in(root, value) for name, value in step.pairs(environment).items()}
    directory.mkdir()
    entrypoint, command = (
        tuple(json.loads(stage.last(one).value)) for one in ("ENTRYPOINT", "CMD")
    )
    return Image(
        environment, entrypoint, command, int(stage.last("USER").value.partition(":")[0]), directory
    )


def _in(root: Path, text: str) -> str:
    """The same with each absolute path below `root`; who is there already stays."""
    return _ABSOLUTE.sub(
        lambda found: found[0] if text.startswith(str(root), found.start()) else f"{root}/", text
    )


def _look_at(environment: Path) -> None:
    """Nothing is in it but what runs, whole and compiled."""
    (packages,) = environment.glob("lib/python3.*/site-packages")
    installed = {
        found.metadata["Name"].lower().replace("_", "-")
        for found in distributions(path=[str(packages)])
    }
    strangers = (
        installed
        - set(_NAME.findall((REPOSITORY / "requirements.lock").read_text()))
        - {"raywarden"}
    )
    assert not strangers, f"not in requirements.lock: {strangers}"
    assert "raywarden" in installed
    for name in ("tests", "deploy", "pip", "setuptools"):
        assert not (packages / name).exists(), f"{name} is in the image"
    ours = [
        path for path in context() if path.partition("/")[0] in ("certs", "policies", "webhook")
    ]
    for path in ours:
        assert (packages / path).read_bytes() == (REPOSITORY / path).read_bytes(), (
            f"{path} is another in the image"
        )
    sources = list(environment.rglob("*.py"))
    for source in sources:
        compiled = Path(cache_from_source(str(source)))
        assert compiled.exists(), f"{source} is not compiled"
        assert compiled.read_bytes()[4] == _UNCHECKED, f"{compiled} goes by the time of its source"
    files = [file for file in environment.rglob("*") if file.is_file() and not file.is_symlink()]
    size = sum(file.stat().st_size for file in files) / 2**20
    _line(
        "environment",
        f"{size:.0f} MiB in {len(files)} files, {len(installed)} distributions, {len(ours)} files of ours",
    )


def _try(image: Image, folder: Path) -> None:
    """Each command once, as a container; how long `enroll` and `serve` take to start."""
    _line("tried as user", str(image.user if _may_be_anybody() else os.geteuid()))
    assert image.run("--version") == f"raywarden {__version__}\n"
    assert len(image.run("rules").splitlines()) > 28
    assert "\nFixed:\n" in image.run("rules", "explain", "tls-on")
    assert "$schema" in image.run("rules", "schema")
    shutil.copytree(_EXAMPLES, mounted := folder / "mounted")
    image.run("review", str(mounted / "01-good-raycluster.json"))
    assert "no-public-head-service" in image.run(
        "review", str(mounted / "05-public-dashboard.json"), exits=1
    )
    _line(
        "enroll --help",
        _figures(_timed(lambda: image.run("enroll", "--help")) for _ in range(_STARTS)),
    )
    _line("serve --dev until ready", _figures(_ready_after(image) for _ in range(_STARTS)))


def _ready_after(image: Image) -> float:
    """Seconds from its start until a server on free ports says it is ready, and is; it must end with 0."""
    started = time.perf_counter()
    with image.start(*image.command, "--dev", **_FREE_PORTS) as process:
        assert process.stdout
        try:
            events = (json.loads(line) for line in process.stdout)
            ports = next((event["ports"] for event in events if event["event"] == "ready"), None)
            took = time.perf_counter() - started
            assert ports, "serve ended before it was ready"
            with urllib.request.urlopen(
                f"http://127.0.0.1:{ports[2]}/readyz", timeout=10
            ) as answer:
                assert answer.read() == b"ok\n"
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


def _line(what: str, figures: str) -> None:
    print(f"{what:<26}{figures}", flush=True)


if __name__ == "__main__":
    main()
