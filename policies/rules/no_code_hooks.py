"""No environment variable loads code into Ray or turns its protection off."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.untyped import as_str
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.commands import commands, expanded
from policies.ray.pod import Container
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

# The variables of Ray 2.52 to 2.60, and what each does.
_LOADS = "loads code into Ray"
_WEAKENS = "weakens Ray"
_HOOKS: Mapping[str, str] = {
    "RAY_CLUSTER_ACTIVITY_HOOK": _LOADS,
    "RAY_DASHBOARD_DEV": "opens the dashboard to every web page",
    "RAY_DASHBOARD_ENABLE_PROFILING": "lets the dashboard attach a profiler to any process",
    "RAY_JEMALLOC_LIB_PATH": _LOADS,
    "RAY_JOB_SUBMIT_HOOK": _LOADS,
    "RAY_RUNTIME_ENV_HOOK": _LOADS,
    "RAY_RUNTIME_ENV_PLUGINS": _LOADS,
    "RAY_START_HOOK": _LOADS,
    "RAY_enable_cluster_auth": _WEAKENS,
    "RAY_testing_rpc_failure": _WEAKENS,
    "REMOTE_PDB_HOST": "opens a debugger to the network",
}
# Ray ships this hook, and its documentation tells users to set it.
_RAYS_OWN = {"RAY_RUNTIME_ENV_HOOK": "ray._private.runtime_env.uv_runtime_env_hook.hook"}
_DEBUGGER = "opens a debugger in Ray's workers"
_REDACTS = "RAY_DASHBOARD_REDACT_RUNTIME_ENV"
_NAMES = re.compile(rf"\b(?:{'|'.join(_HOOKS)}|RAY_DEBUG\w*)\b")
_NAMED = {*_HOOKS, _REDACTS}
_OFF = frozenset({"", "0", "false", "False", "FALSE"})
_SWITCHES = ("RAY_DASHBOARD_DEV", "RAY_DASHBOARD_ENABLE_PROFILING")


class NoCodeHooks(Rule):
    """Refuses variables that load code into Ray, open a debugger or turn a protection off.

    The rule checks `env` and the commands of the containers that run or connect to Ray, and the
    runtime environments of jobs and Serve applications.
    Why: variables such as RAY_START_HOOK name a Python function. Every Ray process of the cluster
    imports and runs it.
    Fix: put code into the image or the job, and debug in a separate cluster.
    """

    id: ClassVar[str] = "no-code-hooks"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    allowed_variables: tuple[str, ...] = Field(
        (), description="variables that authors may set although this rule refuses them"
    )

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        for container, title in workload.ray_containers:
            yield from self._check_env(container, title)
            yield from self._check_commands(container, title)
        for environment in runtime_environments(workload):
            for name, value in environment.variables:
                if self._is_hook(name, value):
                    message = f"{environment.field} sets {name}, which {_harm(name)}"
                    yield self.violation(message, environment.pointer, f"remove {name}")

    def _check_commands(self, container: Container, title: str) -> Iterator[Violation]:
        for pointer, words in commands(container):
            names: set[str] = set()
            for word in expanded(words, container):
                names.update(_NAMES.findall(word))
            for name in sorted(names.difference(self.allowed_variables)):
                yield self.violation(
                    f"a command of {title} sets {name}, which {_harm(name)}",
                    pointer,
                    f"remove {name} from the command",
                    evidence="\n".join(words),
                )

    def _check_env(self, container: Container, title: str) -> Iterator[Violation]:
        suspects = _NAMED & container.variable_names
        suspects |= {name for name in container.variable_names if name.startswith("RAY_DEBUG")}
        for name in sorted(suspects):
            entries = container.variables[name]
            if any(self._is_hook(name, _value(entry)) for _, entry in entries):
                place = container.pointer / "env" / entries[0][0]
                message = f"{title} sets {name}, which {_harm(name)}"
                yield self.violation(message, place, f"remove {name}")

    def _is_hook(self, name: str, value: str) -> bool:
        if name in self.allowed_variables or _RAYS_OWN.get(name) == value:
            return False
        if name == _REDACTS:
            return value in _OFF - {""}
        if name in _SWITCHES or name.startswith("RAY_DEBUG"):
            return value not in _OFF
        return name in _HOOKS


def _value(entry: Mapping[str, Any]) -> str:
    """The literal value; a value from elsewhere is unknown and so counts as on."""
    return as_str(entry.get("value")) if entry.get("valueFrom") is None else "from elsewhere"


def _harm(name: str) -> str:
    if name == _REDACTS:
        return "shows the secrets of runtime environments in the dashboard"
    return _HOOKS.get(name, _DEBUGGER)
