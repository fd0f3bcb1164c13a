"""The files and variables that a program gets, and what is left afterwards."""

import stat
import subprocess
from pathlib import Path

import pytest

from tests.support import live_objects
from webhook.connect import workspace as workspace_module
from webhook.connect.certificate import ClientFiles
from webhook.connect.ray_head import RayPorts
from webhook.connect.ray_token import RayToken
from webhook.connect.workspace import workspace

FILES = ClientFiles(b"the key", b"the certificate", b"the CAs", live_objects.NOW)
PORTS = RayPorts(20001, 28265, 26379)
NO_TOKEN = RayToken(required=False)


def test_only_this_user_can_read_the_files_and_they_do_not_stay() -> None:
    with workspace(FILES, RayToken(True, "s3cret")) as place:
        assert stat.S_IMODE(place.directory.stat().st_mode) == 0o700
        modes = {stat.S_IMODE(file.stat().st_mode) for file in place.directory.iterdir()}
        assert modes == {0o600}
        assert (place.directory / "tls.key").read_bytes() == b"the key"
    assert not place.directory.exists()


def test_an_exception_leaves_no_file() -> None:
    with pytest.raises(KeyError), workspace(FILES, NO_TOKEN) as place:
        raise KeyError
    assert not place.directory.exists()


def test_without_shared_memory_the_usual_place_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace_module, "_MEMORY", tmp_path / "missing")
    with workspace(FILES, NO_TOKEN) as place:
        assert place.directory.is_dir()


def test_variables_of_another_cluster_are_replaced() -> None:
    """A token of another cluster must not be sent to this one."""
    current = {
        "PATH": "/bin",
        "RAY_ADDRESS": "ray://other:10001",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "other",
        "RAY_AUTH_TOKEN_PATH": "/other",
        "no_proxy": "example.com",
    }
    with workspace(FILES, NO_TOKEN) as place:
        environment = place.environment(current, PORTS)
        folder = str(place.directory)
    assert environment == {
        "PATH": "/bin",
        "RAY_ADDRESS": "ray://127.0.0.1:20001",
        "RAY_API_SERVER_ADDRESS": "http://127.0.0.1:28265",
        "RAY_USE_TLS": "1",
        "RAY_TLS_SERVER_CERT": f"{folder}/tls.crt",
        "RAY_TLS_SERVER_KEY": f"{folder}/tls.key",
        "RAY_TLS_CA_CERT": f"{folder}/ca.crt",
        "no_proxy": "example.com,127.0.0.1",
        "NO_PROXY": "127.0.0.1",
    }


@pytest.mark.parametrize("token", [NO_TOKEN, RayToken(True, "s3cret")])
def test_a_shell_that_reads_the_exports_has_the_same_variables(token: RayToken) -> None:
    with workspace(FILES, token) as place:
        lines = "\n".join(place.exports(PORTS))
        before = {"RAY_AUTH_TOKEN": "other", "RAY_AUTH_MODE": "token"}
        output = subprocess.run(
            ["/bin/sh", "-c", f"{lines}\nenv"],
            env=before, capture_output=True, text=True, check=True,
        )  # fmt: skip
        shown = dict(line.split("=", 1) for line in output.stdout.splitlines())
        ray = {name: value for name, value in shown.items() if name.startswith("RAY_")}
        assert ray == place.variables(PORTS) and "s3cret" not in lines
