"""Runs the tests with each version that is there, and says what is not there."""

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from junitparser import JUnitXml

from tests.matrix.machine import Found, Machine
from tests.matrix.record import Part, Record, append
from tests.matrix.table import result
from tests.matrix.versions import KUBERNETES, RAY, missing
from tests.support.paths import REPOSITORY

# Each process starts an API server of its own, and some tests measure time.
_PROCESSES = ("-n", "2")
# What pytest itself says when tests ran; otherwise it could not start, or was interrupted.
_TESTS_RAN = (0, 1)
# Set by each run: the versions of the caller must not take part.
_OWN_VARIABLES = ("KUBEBUILDER_ASSETS", "E2E_RAY")


@dataclass(frozen=True, slots=True)
class _Run:
    part: Part
    kubernetes: str | None
    ray: str | None
    command: tuple[str, ...]
    environment: Mapping[str, str]

    @property
    def title(self) -> str:
        versions = (("Kubernetes", self.kubernetes), ("Ray", self.ray))
        return ", ".join([self.part, *(f"{name} {value}" for name, value in versions if value)])

    @property
    def file_name(self) -> str:
        return f"{self.title.lower().replace(', ', '-').replace(' ', '-')}.xml"


@dataclass
class Matrix:
    """A run of what is there; `ran` and `not_run` are lines for a terminal."""

    machine: Machine
    results: Path
    date: str
    note: str = ""
    ran: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    is_good: bool = True

    def apiserver(self) -> None:
        """Run the API server tests with each version of Kubernetes."""
        found = list(self._usable(self.machine.api_servers()))
        for assets in found:
            command = (*self._pytest, *_PROCESSES, "tests/apiserver")
            environment = {"KUBEBUILDER_ASSETS": str(assets.folder)}
            self._carry_out(_Run("apiserver", assets.version, None, command, environment))
        for minor in missing(KUBERNETES, [assets.version for assets in found]):
            self.not_run.append(
                f"Kubernetes {minor} is not in {self.machine.kubernetes}: "
                f"`setup-envtest use {minor}` installs it"
            )

    def e2e(self) -> None:
        """Run the tests with real Ray in each environment, with the newest Kubernetes."""
        found = list(self._usable(self.machine.rays()))
        for minor in missing(RAY, [environment.version for environment in found]):
            self.not_run.append(
                f"Ray {minor} is not in {self.machine.environments}/.venv-e2e*: "
                f"`make e2e RAY={minor}.0` installs it"
            )
        if found and (problem := self.machine.why_no_isolation()):
            versions = ", ".join(environment.version for environment in found)
            self.not_run.append(f"Ray {versions}: the tests need root on Linux: {problem}")
            return
        newest = [assets for assets in self.machine.api_servers() if assets.version][-1:]
        for environment in found:
            self._carry_out(self._with_ray(environment, newest[0] if newest else None))

    def cluster(self) -> None:
        """Run the tests in the cluster of KUBECONFIG, which write their own record.

        They get the variables with which `make` was called, such as IMAGE.
        """
        if not self.machine.kubeconfig:
            self.not_run.append("no cluster: KUBECONFIG is not set")
            return
        command = [str(self.machine.make), "e2e-node"]
        process = subprocess.run(command, cwd=REPOSITORY, check=False)
        self.ran.append(f"cluster of {self.machine.kubeconfig}: exit code {process.returncode}")
        self.is_good &= process.returncode == 0

    @property
    def _pytest(self) -> tuple[str, ...]:
        return str(self.machine.python), "-m", "pytest", "-q"

    def _usable(self, folders: list[Found]) -> Iterator[Found]:
        for found in folders:
            if found.problem:
                self.not_run.append(f"{found.folder}: {found.problem}")
            else:
                yield found

    def _with_ray(self, environment: Found, assets: Found | None) -> _Run:
        command = (str(self.machine.isolated), *self._pytest, "-p", "no:xdist", "tests/e2e")
        variables = {"E2E_RAY": str(environment.folder)}
        if assets:
            variables["KUBEBUILDER_ASSETS"] = str(assets.folder)
        kubernetes = assets.version if assets else None
        return _Run("e2e", kubernetes, environment.version, command, variables)

    def _carry_out(self, run: _Run) -> None:
        """Run pytest, and record the numbers that it reports itself."""
        print(f"\n== {run.title}", flush=True)
        file = self.results / run.file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        inherited = {
            name: value for name, value in os.environ.items() if name not in _OWN_VARIABLES
        }
        process = subprocess.run(
            [*run.command, f"--junitxml={file}"],
            cwd=REPOSITORY, env={**inherited, **run.environment}, check=False,
        )  # fmt: skip
        if process.returncode not in _TESTS_RAN or not file.exists():
            self.ran.append(f"{run.title}: ended without a result, exit code {process.returncode}")
            self.is_good = False
            return
        record = _record(run, file, self.date, self.note)
        append(record, self.results / "records.jsonl")
        self.ran.append(f"{run.title}: {result(record)}")
        self.is_good &= record.is_good


def _record(run: _Run, file: Path, date: str, note: str) -> Record:
    """The record of a run, with the numbers from pytest's own report."""
    report = JUnitXml.fromfile(str(file))
    suites = list(report)
    failed = sum(suite.failures + suite.errors for suite in suites)
    skipped = sum(suite.skipped for suite in suites)
    return Record(
        part=run.part,
        kubernetes=run.kubernetes,
        kuberay=None,
        ray=run.ray,
        date=date,
        passed=sum(suite.tests for suite in suites) - failed - skipped,
        failed=failed,
        skipped=skipped,
        note=note,
    )
