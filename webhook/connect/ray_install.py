"""Which Ray a program will use: Ray refuses clients of another version, with a long traceback."""

import asyncio
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from policies.ray.version import RayVersion, dotted, ray_version

_ASK = "from importlib.metadata import version; print(version('ray'))"
_SECONDS = 5.0
_SHELLS = ("bash", "dash", "fish", "ksh", "sh", "zsh")
_MAX_SHEBANG = 256


async def version_warning(
    command: Sequence[str], environment: Mapping[str, str], cluster: RayVersion | None
) -> str:
    """What to say if the program's Python has another Ray than the cluster; empty if it has not.

    Nothing is said where the program is not Python's, or has no Ray.
    """
    python = _python_of(command, environment)
    if cluster is None or not python:
        return ""
    installed = await _installed(python, environment)
    if installed is None or installed == cluster:
        return ""
    return (
        f"the cluster runs Ray {dotted(cluster)}, and {python} has Ray {dotted(installed)}: "
        f"Ray Client needs the same version (pip install ray=={dotted(cluster)})"
    )


def _python_of(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """The Python that a command runs with; the one on PATH for a shell; empty if unknown."""
    path = environment.get("PATH")
    program = shutil.which(command[0], path=path)
    if program is None:
        return ""
    if Path(program).name in _SHELLS:
        return shutil.which("python", path=path) or shutil.which("python3", path=path) or ""
    if Path(program).name.startswith("python"):
        return program
    with suppress(OSError), open(program, "rb") as script:
        first = script.readline(_MAX_SHEBANG).decode(errors="replace").strip()
        interpreter = first.removeprefix("#!").strip().split(" ")[0]
        if first.startswith("#!") and Path(interpreter).name.startswith("python"):
            return interpreter
    return ""


async def _installed(python: str, environment: Mapping[str, str]) -> RayVersion | None:
    """The version of Ray that a Python has, without importing it; None if it has none."""
    devnull = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(
            # -I: the current directory is not searched for modules.
            *(python, "-I", "-c", _ASK),
            env=dict(environment), stdin=devnull, stdout=asyncio.subprocess.PIPE, stderr=devnull,
        )  # fmt: skip
    except OSError:
        return None
    try:
        async with asyncio.timeout(_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return ray_version(output.decode(errors="replace").strip())
