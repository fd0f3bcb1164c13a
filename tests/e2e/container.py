"""The first process of a container: it creates the file system, drops rights and runs the program.

`python -m tests.e2e.container PLAN` runs as root in new mount, PID, UTS and IPC namespaces and in
the network namespace of the pod. An overlay shows the files of the machine and keeps all writes.
"""

import ctypes
import json
import os
import socket
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

# mount(2)
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE = 1, 32, 4096, 16384
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_PATH_ONLY = os.O_PATH | os.O_CLOEXEC


@dataclass(frozen=True)
class Mount:
    """A folder or file of the machine that is mounted at `target`."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True)
class Plan:
    """The configuration of a container.

    `visible`: folders of the machine that the container's user must be able to read.
    """

    folder: str
    hostname: str
    files: dict[str, str]
    visible: list[str]
    mounts: list[Mount]
    read_only: bool
    rights: list[str]
    user: int
    group: int
    environment: dict[str, str]
    command: list[str]

    def write(self, file: Path) -> None:
        file.touch(mode=0o600)
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> "Plan":
        fields = json.loads(file.read_text())
        mounts = [Mount(**mount) for mount in fields["mounts"]]
        return cls(**{**fields, "mounts": mounts})


def _mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), target.encode(), kind.encode(), flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, f"mount {kind} {source} {target}: {os.strerror(number)}")


def _make_root(plan: Plan) -> Path:
    """Mount an overlay over the root of the machine, with new system folders."""
    folder = Path(plan.folder)
    upper, work, root = (folder / name for name in ("upper", "work", "root"))
    for layer in (upper, work, root):
        layer.mkdir(parents=True)
    _mount("overlay", str(root), "overlay", options=f"lowerdir=/,upperdir={upper},workdir={work}")
    _mount("proc", str(root / "proc"), "proc")
    _mount("/sys", str(root / "sys"), "", _BIND | _RECURSIVE)
    for name in ("tmp", "run", "dev"):
        _mount(
            "tmpfs", str(root / name), "tmpfs", options="mode=1777" if name == "tmp" else "mode=755"
        )
    _make_devices(root / "dev")
    for path in map(Path, plan.visible):
        _show(root, path)
    for name, content in plan.files.items():
        (root / name).unlink(missing_ok=True)
        (root / name).write_text(content)
    return root


def _make_devices(folder: Path) -> None:
    for name in _DEVICES:
        (folder / name).touch()
        _mount(f"/dev/{name}", str(folder / name), "", _BIND)
    (folder / "shm").mkdir()
    _mount("tmpfs", str(folder / "shm"), "tmpfs", options="mode=1777,size=64m")
    (folder / "termination-log").touch()
    (folder / "termination-log").chmod(0o666)
    (folder / "fd").symlink_to("/proc/self/fd")


def _show(root: Path, path: Path) -> None:
    """Bind a folder of the machine, and let every user enter the folders above it.

    The folder may be on another file system, which the overlay does not include.
    """
    target = root / path.relative_to("/")
    target.mkdir(parents=True, exist_ok=True)
    _mount(str(path), str(target), "", _BIND | _RECURSIVE)
    for parent in target.relative_to(root).parents:
        (root / parent).chmod(stat.S_IMODE((root / parent).stat().st_mode) | 0o011)


def _mount_volumes(plan: Plan, sources: list[int]) -> None:
    """Mount the volumes, after `chroot`.

    The sources are open files: a path could lead out of the container by links in its root.
    """
    for mount, descriptor in zip(plan.mounts, sources, strict=True):
        source = f"/proc/self/fd/{descriptor}"
        target = Path(mount.target)
        if stat.S_ISDIR(os.stat(source).st_mode):
            target.mkdir(parents=True, exist_ok=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
        _mount(source, str(target), "", _BIND)
        if mount.read_only:
            _mount("", str(target), "", _REMOUNT | _BIND | _READ_ONLY)


def _home(plan: Plan) -> None:
    home = Path(plan.environment["HOME"])
    home.mkdir(parents=True, exist_ok=True)
    os.chown(home, plan.user, plan.group)


def main(plan: Plan) -> None:
    """Set up the container and become its program; never returns."""
    root = _make_root(plan)
    sources = [os.open(mount.source, _PATH_ONLY) for mount in plan.mounts]
    os.chroot(root)
    os.chdir("/")
    _mount_volumes(plan, sources)
    _home(plan)
    if plan.read_only:
        _mount("", "/", "", _REMOUNT | _BIND | _READ_ONLY)
    socket.sethostname(plan.hostname)
    os.chdir(plan.environment["HOME"])
    os.execve("/usr/bin/setpriv", ["setpriv", *plan.rights, "--", *plan.command], plan.environment)


if __name__ == "__main__":
    main(Plan.read(Path(sys.argv[1])))
