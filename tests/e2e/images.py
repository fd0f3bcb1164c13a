"""Stand-ins for container images: programs from environments of this machine, and a user."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from policies.ray.image import repository_of
from tests.support.paths import REPOSITORY

_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# By default, Ray sizes a node for a whole machine. Here several nodes share few cores.
_SMALL = {
    "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(100 * 2**20),
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Image:
    """A folder of programs, the folders of the machine that they need, and their user."""

    programs: Path
    visible: tuple[Path, ...]
    user: int
    group: int
    home: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            **_SMALL,
            "PATH": f"{self.programs}:{_SYSTEM}",
            "HOME": self.home,
            "LANG": "C.UTF-8",
        }


@dataclass(frozen=True)
class Images:
    """RayWarden's image is the environment of this process; Ray's image is another environment."""

    raywarden: Image
    ray: Image

    @classmethod
    def of(cls, ray: Path) -> "Images":
        """`ray` is the path of a virtual environment that contains Ray.

        The users are those of the Dockerfiles of RayWarden and of Ray.
        """
        own, environment = Path(sys.prefix), ray.absolute()
        return cls(
            Image(
                own / "bin",
                (REPOSITORY, own, Path(sys.base_prefix)),
                65532,
                65532,
                "/home/nonroot",
            ),
            Image(
                environment / "bin",
                (REPOSITORY, environment, _base(environment)),
                1000,
                100,
                "/home/ray",
            ),
        )

    @property
    def ray_version(self) -> tuple[int, ...]:
        """The version that `ray --version` prints."""
        output = _output(self.ray.programs / "ray", "--version")
        return tuple(map(int, output.rpartition(" ")[2].split(".")))

    def get(self, name: str) -> Image:
        """The image that a container names; raises KeyError for other images."""
        return {"raywarden": self.raywarden, "rayproject/ray": self.ray}[repository_of(name)]


def _base(environment: Path) -> Path:
    program = "import sys; print(sys.base_prefix)"
    return Path(_output(environment / "bin" / "python", "-c", program))


def _output(program: Path, *arguments: str) -> str:
    process = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return process.stdout.strip()
