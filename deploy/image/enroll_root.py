"""Collects the root file system of the init container's image: `enroll_root.py ENVIRONMENT ROOT`.

The build stage of the Dockerfile runs it, with the Python that the image gets. ENVIRONMENT is the
virtual environment of the server's image. The result has this Python, the libraries that it needs,
`cryptography`, and the program of `raywarden enroll`: no shell, no package manager, no server.
"""

import compileall
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from py_compile import PycInvalidationMode

PYTHON = Path(sys.base_prefix, "bin", f"python3.{sys.version_info.minor}").resolve()
# Where the program is, and the command that containers run.
PROGRAM, COMMAND = Path("/opt/raywarden"), Path("/usr/local/bin/raywarden")
# -I: no variable of the pod can load code. -S: no package adds code or costs time at the start.
LAUNCHER = f"""\
#!{PYTHON} -IS
import sys

sys.path.append("{PROGRAM}")
from webhook.agent.__main__ import main

main()
"""
# cffi itself is only needed to build packages; cryptography uses its compiled part.
PACKAGES = ("cryptography", "cryptography-*.dist-info", "_cffi_backend.*", "cffi-*.dist-info")
OWN = ("webhook/__init__.py", "webhook/agent")
# What this program never needs of the standard library, and what would bring more libraries.
LEFT_OUT = shutil.ignore_patterns(
    "__pycache__", "site-packages", "config-3*", "ensurepip", "idlelib", "lib2to3", "pydoc_data",
    "sqlite3", "test", "tests", "tkinter", "turtle*", "unittest", "venv", "_ctypes_test*",
    "_curses*", "_dbm*", "_gdbm*", "_sqlite3*", "_test*", "_tkinter*", "_xx*", "readline*", "xx*",
)  # fmt: skip


def main() -> None:
    """Collect the files, compile the modules, and start the result once."""
    environment, root = (Path(argument).resolve() for argument in sys.argv[1:])
    _copy(PYTHON, root)
    stdlib = Path(sysconfig.get_path("stdlib"))
    shutil.copytree(stdlib, _in(root, stdlib), symlinks=True, ignore=LEFT_OUT)
    (packages,) = environment.glob("lib/python3.*/site-packages")
    for pattern in (*PACKAGES, *OWN):
        (found,) = packages.glob(pattern)
        _copy(found, root, PROGRAM / found.relative_to(packages))
    launcher = _in(root, COMMAND)
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(LAUNCHER)
    launcher.chmod(0o755)
    _add_libraries(root)
    # glibc reads it; without it DNS would come before the pod's /etc/hosts.
    _in(root, Path("/etc")).mkdir(exist_ok=True)
    _in(root, Path("/etc/nsswitch.conf")).write_text("hosts: files dns\n")
    mode = PycInvalidationMode.UNCHECKED_HASH
    for folder in (stdlib, PROGRAM):
        path = str(_in(root, folder))
        assert compileall.compile_dir(
            path, quiet=2, force=True, stripdir=str(root), prependdir="/", invalidation_mode=mode
        ), f"{folder} does not compile"
    _start(root)


def _in(root: Path, path: Path) -> Path:
    return root / path.relative_to("/")


def _copy(source: Path, root: Path, target: Path | None = None) -> None:
    """Copy a file or folder to the same place below `root`, or to `target` there."""
    place = _in(root, target or source)
    place.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
    elif not place.exists():
        shutil.copy2(source, place)


def _add_libraries(root: Path) -> None:
    """Add the shared libraries of all programs and modules, and what scanners read about them."""
    files = [_in(root, PYTHON), *root.rglob("*.so"), *root.rglob("*.so.*")]
    listing = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=True)
    assert "not found" not in listing.stdout, listing.stdout
    libraries = sorted(set(re.findall(r"(/\S+) \(0x", listing.stdout)))
    for library in map(Path, libraries):
        # The name that the loader looks for, and not the file that a symbolic link points to.
        _copy(library, root)
    for package in set(_packages(libraries)):
        described = subprocess.run(
            ["dpkg-query", "--status", package], stdout=subprocess.PIPE, check=True
        )
        status = _in(root, Path("/var/lib/dpkg/status.d", package))
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_bytes(described.stdout)
        _copy(Path("/usr/share/doc", package, "copyright"), root)
    _copy(Path("/etc/os-release"), root)


def _packages(libraries: list[str]) -> Iterator[str]:
    """The Debian packages of the libraries; Python's own library is in none."""
    for library in libraries:
        # The packages were built before /lib became a symbolic link to /usr/lib.
        for path in {library, os.path.realpath(library), library.removeprefix("/usr")}:
            found = subprocess.run(
                ["dpkg-query", "--search", path], capture_output=True, text=True, check=False
            )
            if found.returncode == 0:
                yield found.stdout.partition(":")[0]


def _start(root: Path) -> None:
    """Start the program with nothing but the files in `root`, which only root may try."""
    if os.geteuid() != 0:
        return
    subprocess.run(
        [str(COMMAND), "enroll", "--help"], stdout=subprocess.DEVNULL, env={}, check=True,
        preexec_fn=lambda: os.chroot(root), cwd="/",
    )  # fmt: skip


if __name__ == "__main__":
    main()
