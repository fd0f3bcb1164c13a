"""`make image-steps`: runs the steps of the Dockerfile without a builder and tests the result.

A folder stands for the root file system of each stage, and the Python of this machine for that of
the base image. The build stage runs as written. Only the files that the other stages copy are kept.
They are started as a container would start them: with the ENV, USER, ENTRYPOINT and CMD of the
image alone, in an empty folder.
"""

import os
import re
import shutil
import sys
import tarfile
import time
from importlib.metadata import distributions
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.paths import REPOSITORY
from tests.tools.built_image import build, image_of, may_change_user
from tests.tools.dockerfile import context, stages
from tests.tools.image_trial import line, run_commands, run_enroll, serve_once

_NAME = re.compile(r"^([a-z0-9-]+)==", re.MULTILINE)
# The flags in a bytecode file (PEP 552): it is validated by hash, and the hash is not checked.
_UNCHECKED = 0b01
# What the server's image may add to its base, and the whole image of the init container in a
# registry.
_MAX_MIB, _MAX_ENROLL_MIB = 110, 40


def main() -> None:
    """Build, inspect and run the images; a failed assertion says what is wrong with them."""
    first, enroll_stage, last = stages()
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        # The user of the image must be able to read what the user who builds it has written.
        folder.chmod(0o755)
        root, built = folder / "server", folder / "built"
        started = time.perf_counter()
        # Virtual environments contain the path of their folder, so the build uses the final one.
        build(first, root)
        took = time.perf_counter() - started
        line("build stage", f"{took:.1f} s with Python {sys.version.partition(' ')[0]}")
        root.rename(built)
        server, enroll = image_of(last, built, root), image_of(enroll_stage, built, folder / "pod")
        shutil.rmtree(built)
        _inspect(root / "opt" / "raywarden")
        _inspect_enroll(enroll.root)
        before = _state(root, enroll.root)
        line("run as user", str(server.user if may_change_user() else os.geteuid()))
        run_commands(server, folder)
        if os.geteuid() == 0:
            run_enroll(enroll, "alone")
        else:
            line("enroll image", "NOT RUN: only root can start it without a base image")
        serve_once(server, enroll, folder)
        assert _state(root, enroll.root) == before, "a command wrote into an image"


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
    line(
        "environment",
        f"{size:.1f} MiB in {len(files)} files, {len(installed)} distributions, "
        f"{len(own)} files of RayWarden",
    )
    assert size <= _MAX_MIB, f"the environment has {size:.0f} MiB; {_MAX_MIB} are allowed"


def _inspect_enroll(root: Path) -> None:
    """Assert that the image holds no other program than Python, and is small."""
    programs = [path.name for path in (root / "usr/local/bin").iterdir()]
    assert {"raywarden"} <= set(programs) <= {"raywarden", f"python3.{sys.version_info.minor}"}
    for name in ("sh", "bash", "pip", "fastapi", "kubernetes", "policies", "ensurepip"):
        assert not list(root.rglob(name)), f"{name} is in the image of the init container"
    packed = root.with_name("enroll.tar.gz")
    with tarfile.open(packed, "w:gz", compresslevel=6) as archive:
        archive.add(root, ".")
    compressed = packed.stat().st_size / 2**20
    packed.unlink()
    files = [file for file in root.rglob("*") if file.is_file() and not file.is_symlink()]
    size = sum(file.stat().st_size for file in files) / 2**20
    line("image of enroll", f"{compressed:.1f} MiB as tar.gz, {size:.1f} MiB in {len(files)} files")
    assert compressed <= _MAX_ENROLL_MIB, f"{_MAX_ENROLL_MIB} MiB are allowed"


def _state(*roots: Path) -> dict[str, int]:
    paths = (path for root in roots for path in root.rglob("*"))
    return {str(path): path.lstat().st_mtime_ns for path in paths}


if __name__ == "__main__":
    main()
