"""Exported policies come and go by the commands of the documentation."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.apiserver.control_plane import ControlPlane
from tests.apiserver.permissions import REGISTRATION
from tests.support.deployed import kubectl
from tests.support.paths import DEPLOY

pytestmark = [pytest.mark.apiserver, pytest.mark.xdist_group("apiserver")]

_POLICY = "apiVersion: raywarden.io/v1alpha1\nkind: Policy\n"
_VALIDATING = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
_MUTATING = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings")


def documented(kinds: tuple[str, ...]) -> tuple[str, str]:
    """The command that installs the policies of these kinds, and the one that removes them."""
    commands = re.findall(r"```bash\n(.*)\n```", (DEPLOY / "POLICIES.md").read_text())
    with_mutations = kinds == _MUTATING
    (install,) = [
        command
        for command in commands
        if "policy export" in command and ("--mutations" in command) == with_mutations
    ]
    deletion = f"kubectl delete {','.join(kinds)} "
    (remove,) = [command for command in commands if command.startswith(deletion)]
    return install, remove


class Shell:
    """A shell of an administrator, in a folder with the policy file."""

    def __init__(self, control_plane: ControlPlane, folder: Path) -> None:
        self._folder, self._control_plane = folder, control_plane
        (folder / "policy.yaml").write_text(_POLICY)
        programs = (Path(kubectl()).parent, Path(sys.executable).parent)
        self._environment = {
            "PATH": ":".join([*map(str, programs), os.environ["PATH"]]),
            "HOME": str(folder),
            "KUBECONFIG": str(control_plane.admin_kubeconfig),
        }

    def run(self, command: str) -> None:
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self._folder, env=self._environment,
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (process.returncode, process.stderr) == (0, ""), f"{command}\n{process.stdout}"

    def exported(self, kinds: tuple[str, ...]) -> list[int]:
        """How many exported objects of each kind there are."""
        paths = [f"/apis/{REGISTRATION}/v1/{kind}" for kind in kinds]
        params = {"labelSelector": "raywarden.io/exported=true"}
        answers = [self._control_plane.admin.get(path, params=params) for path in paths]
        return [len(answer.json()["items"]) for answer in answers]


@pytest.fixture
def shell(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Shell]:
    yield Shell(control_plane, tmp_path)
    for kind in (*_VALIDATING, *_MUTATING):
        path = f"/apis/{REGISTRATION}/v1/{kind}"
        control_plane.admin.delete(path, params={"labelSelector": "raywarden.io/exported=true"})


def test_validating_policies_come_and_go(shell: Shell) -> None:
    install, remove = documented(_VALIDATING)
    shell.run(install)
    policies, policy_bindings = shell.exported(_VALIDATING)
    assert policies >= 15 and policy_bindings >= policies
    # Again, as after an upgrade.
    shell.run(install)
    shell.run(remove)
    assert shell.exported(_VALIDATING) == [0, 0]


def test_mutating_policies_come_and_go(shell: Shell, control_plane: ControlPlane) -> None:
    control_plane.needs(f"{REGISTRATION}/v1", "mutatingadmissionpolicies")
    install, remove = documented(_MUTATING)
    shell.run(install)
    assert shell.exported(_MUTATING) == [2, 2]
    shell.run(remove)
    assert shell.exported(_MUTATING) == [0, 0]
