"""Manifests contain no passwords or keys."""

from collections.abc import Iterator, Sequence, Set
from typing import ClassVar

from pydantic import Field

from policies.cluster.clouds import keyless_access
from policies.documents.credentials import (
    assigns_credential,
    contains_credential,
    is_credential,
    marks_of_credentials,
    may_name_credentials,
    that_may_name_credentials,
)
from policies.documents.pointer import ROOT, Pointer
from policies.documents.untyped import as_dict, as_str, clipped
from policies.injection.own_variables import OWN_VARIABLES, variables_of_others
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.commands import commands, literal_of, substituted
from policies.ray.pod import Container
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

_REFERENCE = "valueFrom: {secretKeyRef: {name: SECRET, key: KEY}}"
_FIX = f"set {_REFERENCE} instead of value, and put the credential into that Secret"
_FIX_ELSEWHERE = f"move it to a Secret, and give the container a variable with {_REFERENCE}"
_FIX_RUNTIME_ENV = f"move it to a Secret, and give the Ray containers a variable with {_REFERENCE}"
_FIX_JOB = "let the job read it from its environment or from a mounted Secret"
# Words in the command of RayWarden's init container, which assign nothing.
_OWN_WORDS = frozenset({"--key-mode"})
_JOBS = (ROOT / "spec", ROOT / "spec" / "jobTemplate")


class NoLiteralCredentials(Rule):
    """Refuses literal keys, tokens and passwords in env, commands, Redis options and jobs.

    A literal is a credential if the variable is named like one, as `..._SECRET_KEY` is, or if the
    value has a known form. References such as ARNs and `${NAME}`, file paths, names of Secrets and
    placeholders do not count. `$(NAME)` counts as the literal of that variable.
    Why: anyone who can read the manifest, its repository or the RayCluster can read the credential,
    and only an edit of the manifest can rotate it.
    Fix: use `valueFrom.secretKeyRef`. Better, use no static key: RRSA (Alibaba Cloud), IRSA (AWS),
    or Workload Identity (Google Cloud, Azure).
    """

    id: ClassVar[str] = "no-literal-credentials"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables that look like credentials but are not"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        yield from self._check_env(workload)
        yield from self._check_commands(workload)
        yield from self._check_job(workload)
        yield from self._check_redis(workload)
        yield from self._check_runtime_environments(workload)

    def _check_env(self, workload: Workload) -> Iterator[Violation]:
        # One search over all containers is enough for most workloads. They have many names and
        # values in common, so the sets are small.
        marks = marks_of_credentials(workload.summary.literal_text)
        named = _named(workload)
        if not marks and not named:
            return
        harmless: set[tuple[str, str]] = set()
        for container in workload.containers:
            for name, index, value in _suspects(container, named, marks):
                # Containers have many variables in common.
                if (name, value) in harmless:
                    continue
                if self._is_credential(name, value, (container,)):
                    place = container.pointer / "env" / index / "value"
                    message = f"{container.title} has a literal credential in {name}"
                    yield self.violation(message, place, _FIX + _keyless_hint(name, value))
                elif "$" not in value:
                    harmless.add((name, value))

    def _check_commands(self, workload: Workload) -> Iterator[Violation]:
        summary = workload.summary
        names = "\n".join(summary.command_words - _OWN_WORDS)
        if not may_name_credentials(names) and not marks_of_credentials(summary.command_text):
            return
        harmless: set[str] = set()
        for container in workload.containers:
            for place, words in commands(container):
                command = "\n".join(words)
                if command in harmless:
                    continue
                if _is_in_command(command, (container,)):
                    message = f"a command of {container.title} contains a credential"
                    yield self.violation(message, place, _FIX_ELSEWHERE)
                elif "$(" not in command:
                    harmless.add(command)

    def _check_job(self, workload: Workload) -> Iterator[Violation]:
        if workload.kind not in ("RayJob", "RayCronJob"):
            return
        for job in _JOBS:
            fields, containers = as_dict(job.read(workload.document)), workload.containers
            if _is_in_command(as_str(fields.get("entrypoint")), containers):
                place = job / "entrypoint"
                yield self.violation("the entrypoint contains a credential", place, _FIX_JOB)
            for name, value in as_dict(fields.get("metadata")).items():
                if self._is_credential(name, as_str(value), containers):
                    message = f"metadata has a literal credential in {clipped(name)}"
                    yield self.violation(message, job / "metadata" / name, _FIX_JOB)

    def _check_redis(self, workload: Workload) -> Iterator[Violation]:
        if not workload.cluster:
            return
        place = Pointer(("gcsFaultToleranceOptions", "redisPassword", "value"))
        if as_str(place.read(workload.cluster.spec)):
            pointer = Pointer((*workload.cluster.pointer, *place))
            yield self.violation("the Redis password is a literal", pointer, _FIX)
        for group in workload.cluster.groups:
            if "redis" not in " ".join(group.start_params):
                continue
            for name, value in group.start_params.items():
                is_password = name.replace("_", "-") == "redis-password"
                # `safe-ray-start-params` refuses references, too, but they are not literals.
                if is_password and is_credential("REDIS_PASSWORD", str(value)):
                    yield self.violation(
                        "the Redis password is a literal in rayStartParams",
                        group.pointer / "rayStartParams" / name,
                        f"remove {name}, and set gcsFaultToleranceOptions.redisPassword to "
                        f"{{{_REFERENCE}}}",
                    )

    def _check_runtime_environments(self, workload: Workload) -> Iterator[Violation]:
        for environment in runtime_environments(workload):
            field, place = environment.field, environment.pointer
            if environment.problem:
                message = f"{field} cannot be checked for credentials: {environment.problem}"
                yield self.violation(message, place, "use plain YAML without anchors")
                continue
            containers = workload.containers
            names = [
                name
                for name, value in environment.settings
                if self._is_credential(name, value, containers)
            ]
            for name in names:
                message = f"{field} has a literal credential in {clipped(name)}"
                yield self.violation(message, place, _FIX_RUNTIME_ENV + _keyless_hint(name))
            if not names and contains_credential(environment.content):
                yield self.violation(f"{field} contains a credential", place, _FIX_RUNTIME_ENV)

    def _is_credential(self, name: str, value: str, containers: Sequence[Container]) -> bool:
        """The literal, or what it refers to in these containers, is a credential."""
        if "$" in value:
            value = _resolved(value, containers)
        return is_credential(name, value) and name not in self.allowed_variables


def _named(workload: Workload) -> Set[str]:
    """The names of variables that may be a credential's."""
    names = workload.summary.variables
    if may_name_credentials(variables_of_others(workload)):
        return that_may_name_credentials(names)
    return that_may_name_credentials(names & OWN_VARIABLES)


def _suspects(
    container: Container, named: Set[str], marks: list[str]
) -> Iterator[tuple[str, int, str]]:
    """The variables, with index and value, that are worth a closer look."""
    variables = container.variables
    names = iter(variables) if marks else filter(named.__contains__, variables)
    for name in names:
        for index, entry in variables.of(name):
            value = as_str(entry.get("value"))
            if name in named or "$(" in value or any(mark in value for mark in marks):
                yield name, index, value


def _resolved(value: str, containers: Sequence[Container]) -> str:
    """The value with the literals that Kubernetes puts in place of `$(NAME)`.

    Ray does the same for `${NAME}` in a runtime environment.
    """
    if value.startswith("${") and value.endswith("}"):
        value = literal_of(value[2:-1], containers) or value
    return substituted(value, containers)


def _is_in_command(command: str, containers: Sequence[Container]) -> bool:
    if "$(" in command:
        command = substituted(command, containers)
    return contains_credential(command) or assigns_credential(command)


def _keyless_hint(*words: str) -> str:
    keyless = keyless_access(words)
    return f"; or use no static key, with {keyless}" if keyless else ""
