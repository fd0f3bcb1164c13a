"""`make matrix` runs the tests with what is there, and says what is not.

The programs here record how they are called, and report what the test tells them to.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.matrix import __main__ as command
from tests.matrix import record
from tests.matrix.machine import Machine
from tests.matrix.runner import Matrix

# Writes the calls, a JUnit report with the numbers in $REPORT, and ends with $EXIT.
_RECORDER = """#!/usr/bin/env python3
import json, os, sys
names = ("KUBEBUILDER_ASSETS", "E2E_RAY")
own = {name: os.environ[name] for name in names if name in os.environ}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps([sys.argv[1:], own]) + "\\n")
junit = [value for value in sys.argv if value.startswith("--junitxml=")]
if junit and "REPORT" in os.environ:
    with open(junit[0].partition("=")[2], "w") as report:
        report.write(f"<testsuites><testsuite name='pytest' {os.environ['REPORT']}/></testsuites>")
sys.exit(int(os.environ.get("EXIT", "0")))
"""
_GOOD = "tests='12' failures='0' errors='0' skipped='3'"


class Offer:
    """A machine in a folder, and what it ran."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self._calls = folder, folder / "calls"
        monkeypatch.setenv("CALLS", str(self._calls))
        monkeypatch.setenv("REPORT", _GOOD)
        # What the caller has set must not take part.
        monkeypatch.setenv("KUBEBUILDER_ASSETS", "/of/the/caller")
        monkeypatch.setenv("E2E_RAY", "/of/the/caller")
        (folder / "k8s").mkdir()
        self.program("isolated", '#!/bin/sh\nexec "$@"\n')

    def program(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
        return file

    def kubernetes(self, folder: str, version: str, *without: str) -> None:
        for name in {"kube-apiserver", "etcd", "kubectl"} - set(without):
            self.program(f"k8s/{folder}/{name}", f"#!/bin/sh\necho 'Kubernetes v{version}'\n")

    def ray(self, folder: str, version: str) -> None:
        self.program(f"{folder}/bin/python", f"#!/bin/sh\necho {version}\n")

    def matrix(self, kubeconfig: str = "") -> Matrix:
        machine = Machine(
            kubernetes=self.folder / "k8s",
            environments=self.folder,
            kubeconfig=kubeconfig,
            python=self.program("python", _RECORDER),
            isolated=self.folder / "isolated",
            make=self.program("make", _RECORDER),
        )
        return Matrix(machine, self.folder / "results", "2026-11-22", "a note")

    @property
    def calls(self) -> list[tuple[list[str], Mapping[str, str]]]:
        if not self._calls.exists():
            return []
        return [tuple(json.loads(line)) for line in self._calls.read_text().splitlines()]

    @property
    def records(self) -> list[record.Record]:
        return record.read(self.folder / "results" / "records.jsonl")


@pytest.fixture
def offer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Offer:
    return Offer(tmp_path, monkeypatch)


def test_api_server_tests_run_with_each_kubernetes_oldest_first(offer: Offer) -> None:
    offer.kubernetes("1.36.2-linux-amd64", "1.36.2")
    offer.kubernetes("1.9.0-linux-amd64", "1.9.0")
    offer.kubernetes("of-a-distributor", "1.30.14+k3s1")
    matrix = offer.matrix()
    matrix.apiserver()
    folders = ["1.9.0-linux-amd64", "of-a-distributor", "1.36.2-linux-amd64"]
    assert [own for _, own in offer.calls] == [
        {"KUBEBUILDER_ASSETS": str(offer.folder / "k8s" / folder)} for folder in folders
    ]
    assert all("tests/apiserver" in arguments for arguments, _ in offer.calls)
    assert [each.kubernetes for each in offer.records] == ["1.9.0", "1.30.14+k3s1", "1.36.2"]
    assert matrix.is_good
    assert matrix.ran[-1] == "apiserver, Kubernetes 1.36.2: 9 passed, 3 skipped"
    assert [line[:15] for line in matrix.not_run] == [f"Kubernetes 1.{n}" for n in range(31, 36)]


@pytest.mark.parametrize(
    ("report", "exit_code", "counts", "good"),
    [
        (_GOOD, "0", (9, 0, 3), True),
        ("tests='12' failures='1' errors='1' skipped='3'", "1", (7, 2, 3), False),
        ("tests='3' failures='0' errors='0' skipped='3'", "0", (0, 0, 3), False),
    ],
)
def test_the_numbers_are_those_of_the_report(
    offer: Offer, monkeypatch: pytest.MonkeyPatch, report: str, exit_code: str,
    counts: tuple[int, int, int], good: bool,
) -> None:  # fmt: skip
    monkeypatch.setenv("REPORT", report)
    monkeypatch.setenv("EXIT", exit_code)
    offer.kubernetes("1.30.14-linux-amd64", "1.30.14")
    matrix = offer.matrix()
    matrix.apiserver()
    (only,) = offer.records
    assert (only.passed, only.failed, only.skipped) == counts
    assert (only.date, only.note, only.ray, only.kuberay) == ("2026-11-22", "a note", None, None)
    assert matrix.is_good == good


@pytest.mark.parametrize("exit_code", ["2", "4", "0"])
def test_a_run_without_a_result_is_not_recorded(
    offer: Offer, monkeypatch: pytest.MonkeyPatch, exit_code: str
) -> None:
    offer.kubernetes("1.30.14-linux-amd64", "1.30.14")
    offer.matrix().apiserver()
    assert len(offer.records) == 1
    if exit_code == "0":
        # The report of the run before must not count.
        monkeypatch.delenv("REPORT")
    monkeypatch.setenv("EXIT", exit_code)
    matrix = offer.matrix()
    matrix.apiserver()
    assert len(offer.records) == 1
    assert not matrix.is_good
    assert matrix.ran == [
        f"apiserver, Kubernetes 1.30.14: ended without a result, exit code {exit_code}"
    ]


def test_folders_that_cannot_be_used_are_named_with_the_reason(offer: Offer) -> None:
    offer.kubernetes("half", "1.31.0", "etcd", "kubectl")
    offer.kubernetes("broken", "1.32.0")
    offer.program("k8s/broken/kube-apiserver", "#!/bin/sh\necho 'wrong machine' >&2; exit 3\n")
    matrix = offer.matrix()
    matrix.apiserver()
    assert offer.calls == [] and matrix.ran == []
    assert sorted(matrix.not_run)[:2] == [
        f"{offer.folder}/k8s/broken: kube-apiserver does not run: wrong machine",
        f"{offer.folder}/k8s/half: it has no etcd and no kubectl",
    ]
    assert (
        f"Kubernetes 1.30 is not in {offer.folder}/k8s: `setup-envtest use 1.30` installs it"
        in (matrix.not_run)
    )


def test_ray_is_tested_in_each_environment_with_the_newest_kubernetes(offer: Offer) -> None:
    offer.kubernetes("old", "1.30.14")
    offer.kubernetes("new", "1.36.2")
    offer.ray(".venv-e2e", "2.60.0")
    offer.ray(".venv-e2e-2.52.1", "2.52.1")
    matrix = offer.matrix()
    matrix.e2e()
    assets = str(offer.folder / "k8s" / "new")
    assert [own for _, own in offer.calls] == [
        {"KUBEBUILDER_ASSETS": assets, "E2E_RAY": str(offer.folder / ".venv-e2e-2.52.1")},
        {"KUBEBUILDER_ASSETS": assets, "E2E_RAY": str(offer.folder / ".venv-e2e")},
    ]
    assert all("tests/e2e" in arguments for arguments, _ in offer.calls)
    versions = [(each.part, each.ray, each.kubernetes) for each in offer.records]
    assert versions == [("e2e", "2.52.1", "1.36.2"), ("e2e", "2.60.0", "1.36.2")]
    assert [line.partition(" is not")[0] for line in matrix.not_run] == ["Ray 2.55"]


def test_ray_is_tested_without_an_api_server_where_there_is_none(offer: Offer) -> None:
    offer.ray(".venv-e2e", "2.60.0")
    offer.matrix().e2e()
    assert [own for _, own in offer.calls] == [{"E2E_RAY": str(offer.folder / ".venv-e2e")}]
    assert [each.kubernetes for each in offer.records] == [None]


def test_without_namespaces_ray_is_not_tested(offer: Offer) -> None:
    offer.ray(".venv-e2e", "2.60.0")
    offer.program("isolated", "#!/bin/sh\necho 'unshare: Operation not permitted' >&2; exit 1\n")
    matrix = offer.matrix()
    matrix.e2e()
    assert offer.calls == []
    assert matrix.not_run[-1] == (
        "Ray 2.60.0: the tests need root on Linux: "
        "isolated does not run: unshare: Operation not permitted"
    )


def test_a_cluster_is_tested_only_where_kubeconfig_names_one(
    offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = offer.matrix()
    without.cluster()
    assert (offer.calls, without.not_run) == ([], ["no cluster: KUBECONFIG is not set"])
    matrix = offer.matrix("/a/kubeconfig")
    matrix.cluster()
    assert [arguments for arguments, _ in offer.calls] == [["e2e-node"]]
    assert matrix.is_good
    monkeypatch.setenv("EXIT", "1")
    matrix.cluster()
    assert not matrix.is_good


def test_the_command_says_what_did_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    empty: dict[str, Any] = {"MATRIX_KUBERNETES": str(tmp_path / "none")}
    assert command.main(["apiserver", "cluster"], empty) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[:2] == ["", "ran:     nothing"]
    assert printed[2].startswith(f"not run: Kubernetes 1.30 is not in {tmp_path}/none: ")
    assert printed[-1] == "not run: no cluster: KUBECONFIG is not set"
    assert command.main(["everything"], empty) == (
        "unknown part everything: choose from apiserver, e2e, cluster"
    )


def test_publishing_without_a_run_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "RECORDS", tmp_path / "records.jsonl")
    assert str(command.main(["--publish"], {})).endswith("has no records: run make matrix first")
