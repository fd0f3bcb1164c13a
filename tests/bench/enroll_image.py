"""The program of the init container's image, with the files that the image has."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.live_server import RunningServer
from tests.support.paths import REPOSITORY

_BUILD = REPOSITORY / "deploy" / "image" / "enroll_root.py"
_LIBRARIES = ("cryptography", "cryptography-*.dist-info", "_cffi_backend.*", "cffi-*.dist-info")


@dataclass(frozen=True)
class EnrollImage:
    """The root file system of the image, used without changing the root of the process."""

    command: Sequence[str]

    def enroll(self, server: RunningServer, token: Path) -> None:
        """Enroll once, as a pod does."""
        environment = {
            "RAYWARDEN_SIGNER_URL": server.enrollment,
            "RAYWARDEN_SIGNER_CA": server.ca_file.read_text(),
            "RAYWARDEN_POD_IP": "127.0.0.1",
        }
        with TemporaryDirectory() as folder:
            subprocess.run(
                [*self.command, "--token-file", str(token), "--directory", folder],
                env=environment, stdout=subprocess.DEVNULL, check=True, timeout=60,
            )  # fmt: skip

    def run(self, *options: str, arguments: Sequence[str] = ("--help",)) -> str:
        """Run the program with options of Python; returns what it writes to stderr."""
        python, flags, *rest = self.command
        ended = subprocess.run(
            [python, flags, *options, *rest, *arguments],
            env={}, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return ended.stderr

    def files(self) -> list[str]:
        """The files of every module and library that the program loads."""
        listing = (
            "import sys; sys.path.append(sys.argv[1]); import webhook.agent.command; "
            "print(*(getattr(m, '__cached__', None) or m.__file__ for m in sys.modules.values() "
            "if getattr(m, '__file__', None)), sep='\\n'); "
            "print(*{l.split()[-1] for l in open('/proc/self/maps') if '/' in l}, sep='\\n')"
        )
        packages = Path(self.command[2]).parent / "opt" / "raywarden"
        command = [*self.command[:2], "-c", listing, str(packages)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True)
        return [line for line in ended.stdout.splitlines() if Path(line).is_file()]


@contextmanager
def enroll_image() -> Iterator[EnrollImage]:
    """The image's files, collected as the Dockerfile does."""
    with TemporaryDirectory() as name:
        folder = Path(name).resolve()
        packages = folder / "environment" / "lib" / f"python3.{sys.version_info.minor}"
        _fill(packages / "site-packages")
        root = folder / "root"
        command = [sys.executable, str(_BUILD), str(folder / "environment"), str(root)]
        subprocess.run(command, check=True, env={"PATH": os.environ["PATH"]})
        launcher = (root / "usr" / "local" / "bin" / "raywarden").read_text()
        first, _, rest = launcher.partition("\n")
        python, flags = first.removeprefix("#!").split()
        # The files are in a folder here, so the program looks for its packages there.
        start = root / "start.py"
        start.write_text(rest.replace('"/opt/', f'"{root}/opt/'))
        yield EnrollImage((f"{root}{python}", flags, str(start), "enroll"))


def _fill(packages: Path) -> None:
    """Put into an environment what the image takes from it."""
    packages.mkdir(parents=True)
    installed = Path(sysconfig.get_path("purelib"))
    for pattern in _LIBRARIES:
        for source in installed.glob(pattern):
            copy = shutil.copytree if source.is_dir() else shutil.copy2
            copy(source, packages / source.name)
    own = packages / "webhook"
    own.mkdir()
    shutil.copy2(REPOSITORY / "webhook" / "__init__.py", own)
    shutil.copytree(REPOSITORY / "webhook" / "agent", own / "agent")
