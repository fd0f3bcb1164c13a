"""The files and variables with which Ray's own tools reach a cluster."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from policies.injection.contract import RAY_TLS_VARIABLES
from policies.ray.auth import MODE, TOKEN, TOKEN_MODE, TOKEN_PATH
from webhook.connect.certificate import ClientFiles
from webhook.connect.forward import LOOPBACK
from webhook.connect.ray_head import RayPorts
from webhook.connect.ray_token import RayToken

# In memory, so that the key never reaches a disk.
_MEMORY = Path("/dev/shm")
_TOKEN_FILE = "token"
_PROXY_EXCEPTIONS = ("no_proxy", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Workspace:
    """A private directory with the key, the certificates and the token."""

    directory: Path
    has_token: bool

    def variables(self, ports: RayPorts) -> dict[str, str]:
        """What Ray reads; `ports` are those on this machine.

        The token is in a file: other programs and crash reports print variables.
        """
        files = {
            name: str(self.directory / Path(value).name)
            for name, value in RAY_TLS_VARIABLES.items()
            if "/" in value
        }
        variables = {
            "RAY_ADDRESS": f"ray://{LOOPBACK}:{ports.client}",
            # `ray job submit` and `ray list` read this one first.
            "RAY_API_SERVER_ADDRESS": f"http://{LOOPBACK}:{ports.dashboard}",
            "RAY_USE_TLS": RAY_TLS_VARIABLES["RAY_USE_TLS"],
            **files,
        }
        if self.has_token:
            variables |= {MODE: TOKEN_MODE, TOKEN_PATH: str(self.directory / _TOKEN_FILE)}
        return variables

    def environment(self, current: Mapping[str, str], ports: RayPorts) -> dict[str, str]:
        """The environment for a program: `current`, with Ray's variables replaced."""
        kept = {name: value for name, value in current.items() if name not in (MODE, TOKEN)}
        kept.pop(TOKEN_PATH, None)
        # A proxy of the company cannot reach this machine's loopback.
        for name in _PROXY_EXCEPTIONS:
            kept[name] = ",".join(filter(None, (kept.get(name), LOOPBACK)))
        return {**kept, **self.variables(ports)}

    def exports(self, ports: RayPorts) -> Iterator[str]:
        """A line for a shell for each variable."""
        if self.has_token:
            # Ray prefers this variable to the file.
            yield f"unset {TOKEN}"
        else:
            yield f"unset {MODE} {TOKEN} {TOKEN_PATH}"
        for name, value in self.variables(ports).items():
            yield f"export {name}={shlex.quote(value)}"


@contextmanager
def workspace(files: ClientFiles, token: RayToken) -> Iterator[Workspace]:
    """Write the files into a directory that only this user can read; remove it at the end."""
    parent = _MEMORY if os.access(_MEMORY, os.W_OK | os.X_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="raywarden-", dir=parent))
    try:
        contents = {"tls.key": files.key, "tls.crt": files.certificate, "ca.crt": files.ca}
        if token.required:
            contents[_TOKEN_FILE] = token.value.encode()
        for name, content in contents.items():
            _write(directory / name, content)
        yield Workspace(directory, token.required)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _write(file: Path, content: bytes) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as opened:
        opened.write(content)
