"""What container images would bring: programs from environments of this machine, and a user."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from policies.ray.image import repository_of
from tests.support.paths import REPOSITORY

_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What Ray would find out of itself is made for a whole machine: this one runs several nodes on few cores.
_SMALL = {
    "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES": str(100 * 2**20),
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Image:
    """Programs (a folder in PATH), the folders of the machine they are made of, and who runs them."""

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
    """RayWarden's image is the environment that runs this; Ray's is the one it is told of."""

    raywarden: Image
    ray: Image

    @classmethod
    def of(cls, ray: Path) -> "Images":
        """`ray` is a virtual environment with Ray in it. Users are those of the Dockerfiles, RayWarden's and Ray's."""
        ours, environment = Path(sys.prefix), ray.absolute()
        return cls(
            Image(
                ours / "bin",
                (REPOSITORY, ours, Path(sys.base_prefix)),
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
        """As its own command line says it."""
        said = _said(self.ray.programs / "ray", "--version")
        return tuple(map(int, said.rpartition(" ")[2].split(".")))

    def get(self, name: str) -> Image:
        """The image that a container names; raises KeyError for one that is neither."""
        return {"raywarden": self.raywarden, "rayproject/ray": self.ray}[repository_of(name)]


def _base(environment: Path) -> Path:
    return Path(_said(environment / "bin" / "python", "-c", "import sys; print(sys.base_prefix)"))


def _said(program: Path, *arguments: str) -> str:
    ended = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, timeout=60, check=True
    )
    return ended.stdout.strip()
