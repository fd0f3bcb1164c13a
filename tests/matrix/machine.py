"""What this machine offers: API servers, environments with Ray, a cluster."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_PROGRAMS = ("kube-apiserver", "etcd", "kubectl")
_RAY_VERSION = "import importlib.metadata; print(importlib.metadata.version('ray'))"


@dataclass(frozen=True, slots=True)
class Found:
    """A folder with programs of one version, or the reason why it cannot be used."""

    folder: Path
    version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look, and the programs that run the tests."""

    # a folder of folders, as `setup-envtest use VERSION` makes them
    kubernetes: Path
    # the folder of `.venv-e2e*`, as `make e2e` makes them
    environments: Path
    kubeconfig: str
    # the Python that has pytest
    python: Path
    # makes the namespaces for the tests with Ray
    isolated: Path
    make: Path

    def api_servers(self) -> list[Found]:
        """The Kubernetes versions in setup-envtest's folder, the oldest first."""
        if not self.kubernetes.is_dir():
            return []
        folders = filter(Path.is_dir, self.kubernetes.iterdir())
        return sorted(map(_api_server, folders), key=_order)

    def rays(self) -> list[Found]:
        """The environments with Ray, the oldest version first."""
        folders = (file.parent for file in self.environments.glob(".venv-e2e*/bin"))
        return sorted(map(_ray, folders), key=_order)

    def why_no_isolation(self) -> str:
        """Why no private namespaces can be made; empty if they can."""
        return _output(str(self.isolated), "true", of=lambda text: "")[1]


def _api_server(folder: Path) -> Found:
    absent = [name for name in _PROGRAMS if not (folder / name).is_file()]
    if absent:
        return Found(folder, problem=f"it has no {' and no '.join(absent)}")
    version, problem = _output(str(folder / "kube-apiserver"), "--version", of=_kubernetes_version)
    return Found(folder, version, problem)


def _kubernetes_version(text: str) -> str:
    """The version in `Kubernetes v1.30.14`; distributors add a suffix such as `+k3s1`."""
    return text.removeprefix("Kubernetes ").strip().removeprefix("v")


def _ray(folder: Path) -> Found:
    version, problem = _output(str(folder / "bin" / "python"), "-c", _RAY_VERSION, of=str.strip)
    return Found(folder, version, problem)


def _output(*command: str, of: Callable[[str], str]) -> tuple[str, str]:
    """What a program prints, read by `of`, and why it failed if it did."""
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", f"{Path(command[0]).name} does not run: {error}"
    if process.returncode:
        said = process.stderr.strip().splitlines() or [f"exit code {process.returncode}"]
        return "", f"{Path(command[0]).name} does not run: {said[-1]}"
    return of(process.stdout), ""


def _order(found: Found) -> tuple[tuple[int, ...], Path]:
    numbers = [int(part) for part in found.version.split(".") if part.isdecimal()]
    return tuple(numbers), found.folder
