"""No environment variable loads code into Ray or turns its protection off."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import Field

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_str
from policies.injection.token_mode import requires_token
from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.commands import commands, expanded
from policies.ray.pod import Container
from policies.ray.runtime_env import runtime_environments
from policies.ray.workload import Workload

# The variables that weaken Ray or make it load code, and what each does. They were read from the
# Python source, and from the names in the compiled part, of Ray 2.52.0, 2.54.0, 2.57.0 and 2.60.0:
# every variable whose value is imported, unpickled, run or preloaded. Four are in 2.57 but not in
# 2.54: RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH, RAY_SERVE_HAPROXY_BINARY_PATH, and the switches that
# let tensors, Python objects and WebDataset files run code.
_LOADS = "loads code into Ray"
_WEAKENS = "weakens Ray"
_HOOKS: Mapping[str, str] = {
    "PERFTOOLS_PATH": _LOADS,
    "RAY_AUTOSCALER_UTILIZATION_SCORER": _LOADS,
    "RAY_CLUSTER_ACTIVITY_HOOK": _LOADS,
    "RAY_DASHBOARD_DEV": "opens the dashboard to every web page",
    "RAY_DASHBOARD_ENABLE_PROFILING": (
        "lets anyone who can reach the dashboard profile any process, because Ray token "
        "authentication is off"
    ),
    "RAY_DATABRICKS_UC_DATASOURCE_READ_FN_MOCK_TEST_SETUP_FN_PATH": _LOADS,
    # The options of `python -m memray run`, such as `-c CODE`.
    "RAY_INTERNAL_MEM_PROFILE_OPTIONS": _LOADS,
    "RAY_JEMALLOC_LIB_PATH": _LOADS,
    "RAY_JOB_CONFIG_JSON_ENV_VAR": "changes the runtime environment of every job",
    "RAY_JOB_SUBMIT_HOOK": _LOADS,
    "RAY_ON_SPARK_START_HOOK": _LOADS,
    "RAY_RUNTIME_ENV_HOOK": _LOADS,
    "RAY_RUNTIME_ENV_PLUGINS": _LOADS,
    "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH": _LOADS,
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": _LOADS,
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": _LOADS,
    "RAY_START_HOOK": _LOADS,
    "RAY_enable_cluster_auth": _WEAKENS,
    "RAY_preload_python_modules": "loads code into every worker",
    "RAY_testing_rpc_failure": _WEAKENS,
    "REMOTE_PDB_HOST": "opens a debugger to the network",
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR": "loads code into every worker",
}
# Ray's libraries read these where the code of a job runs anyway, and some platforms set them. They
# count under `restricted` only.
_UNSAFE_DATA = "lets data files run code"
_HOOKS_OF_JOBS: Mapping[str, str] = {
    "RAYLLM_VLLM_ENGINE_CLS": "loads code into the replicas of Ray Serve LLM",
    "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA": _UNSAFE_DATA,
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR": _UNSAFE_DATA,
    "RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE": _UNSAFE_DATA,
    "RAY_DATA_EXECUTION_CALLBACKS": "loads code into every Ray Data job",
    "RAY_DATA_LOGGING_CONFIG": "loads classes into every Ray Data job",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION": _UNSAFE_DATA,
    "RAY_SERVE_HAPROXY_BINARY_PATH": "replaces the proxy of Ray Serve",
    "RAY_TRAIN_CALLBACKS": "loads code into every Ray Train job",
    "RAY_TUNE_CALLBACKS": "loads code into every Ray Tune job",
    "WANDB_POPULATE_RUN_LOCATION_HOOK": "loads code into Ray Train and Ray Tune jobs",
    "WANDB_PROCESS_RUN_INFO_HOOK": "loads code into Ray Train and Ray Tune jobs",
    "WANDB_SETUP_API_KEY_HOOK": "loads code into Ray Train and Ray Tune jobs",
}
_HARMS = {**_HOOKS, **_HOOKS_OF_JOBS}
# Ray ships these hooks, and its documentation tells users to set them.
_RAYS_OWN = {
    "RAY_RUNTIME_ENV_HOOK": "ray._private.runtime_env.uv_runtime_env_hook.hook",
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": (
        "ray.serve._private.tracing_utils:default_tracing_exporter"
    ),
}
# Ray turns it off by default because of web pages that reach a dashboard without authentication by
# DNS rebinding; with a token they cannot (Ray 2.57 documentation, "Enabling dashboard profiling").
_PROFILING = "RAY_DASHBOARD_ENABLE_PROFILING"
_DEBUGGER = "opens a debugger in Ray's workers"
_DEBUG_PREFIX = "RAY_DEBUG"
_HARMLESS = "RAY_DEBUG_DISABLE_MEMORY_MONITOR"
_REDACTS = "RAY_DASHBOARD_REDACT_RUNTIME_ENV"
# Words that begin like the names above. It is much faster than an alternation of the names, and the
# condition after the first letter is faster than `\b` before it.
_NAMES = re.compile(r"[_PRW](?<!\w.)\w+")
_NAMED = {*_HARMS, _REDACTS}
_OFF = frozenset({"", "0", "false", "False", "FALSE"})
_SWITCHES = frozenset(
    {
        "RAY_DASHBOARD_DEV",
        "RAY_DASHBOARD_ENABLE_PROFILING",
        *(name for name, harm in _HOOKS_OF_JOBS.items() if harm is _UNSAFE_DATA),
    }
)


class NoCodeHooks(Rule):
    """Refuses variables that load code into Ray, open a debugger or turn a protection off.

    The rule checks `env` and the commands of the containers that run or connect to Ray, and the
    runtime environments of jobs and Serve applications. Variables that load code only where the
    code of a job runs anyway, such as RAY_TRAIN_CALLBACKS, count under `restricted` only.
    RAY_DASHBOARD_ENABLE_PROFILING is allowed if Ray token authentication is on.
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
        for name, violation in self._hooks(workload):
            if name != _PROFILING or not requires_token(workload, facts):
                yield violation

    def _hooks(self, workload: Workload) -> Iterator[tuple[str, Violation]]:
        """The names of the variables, with their violations."""
        if _may_have_hooks(workload):
            for container in workload.ray_containers:
                yield from self._check_env(container)
                yield from self._check_commands(container)
        for environment in runtime_environments(workload):
            for name, value in environment.variables:
                if self._is_hook(name, value):
                    message = f"{environment.field} sets {name}, which {_harm(name)}"
                    yield self._hook(name, message, environment.pointer, f"remove {name}")

    def _check_commands(self, container: Container) -> Iterator[tuple[str, Violation]]:
        for pointer, words in commands(container):
            names: set[str] = set()
            for text in expanded(words, container):
                names.update(filter(_is_named, _NAMES.findall(text)))
            for name in sorted(names.difference(self.allowed_variables)):
                yield self._hook(
                    name,
                    f"a command of {container.title} sets {name}, which {_harm(name)}",
                    pointer,
                    f"remove {name} from the command",
                    evidence="\n".join(words),
                )

    def _check_env(self, container: Container) -> Iterator[tuple[str, Violation]]:
        suspects = _NAMED & container.variables.names
        for name in sorted(suspects | container.variables.like(_DEBUG_PREFIX)):
            entries = container.variables.of(name)
            if any(self._is_hook(name, _value(entry)) for _, entry in entries):
                place = container.pointer / "env" / entries[0][0]
                message = f"{container.title} sets {name}, which {_harm(name)}"
                yield self._hook(name, message, place, f"remove {name}")

    def _hook(
        self, name: str, message: str, pointer: Pointer, remediation: str, evidence: str = ""
    ) -> tuple[str, Violation]:
        level = Profile.RESTRICTED if name in _HOOKS_OF_JOBS else self.profile
        if name == _PROFILING:
            remediation = f"{remediation}, or set authOptions: {{mode: token}} in the RayCluster"
        return name, self.violation(message, pointer, remediation, profile=level, evidence=evidence)

    def _is_hook(self, name: str, value: str) -> bool:
        if name in self.allowed_variables or _RAYS_OWN.get(name) == value:
            return False
        if name == _REDACTS:
            return value in _OFF - {""}
        if name in _SWITCHES or _is_debugger(name):
            return value not in _OFF
        return name in _HARMS


def _may_have_hooks(workload: Workload) -> bool:
    """A variable or a command is worth a closer look; most workloads have none."""
    return (
        workload.summary.expands_literals
        or any(map(_is_named, _NAMES.findall(workload.summary.command_text)))
        or not _NAMED.isdisjoint(workload.summary.variables)
        or _DEBUG_PREFIX in workload.summary.variable_text
    )


def _is_debugger(name: str) -> bool:
    return name.startswith(_DEBUG_PREFIX) and name != _HARMLESS


def _is_named(name: str) -> bool:
    return name in _HARMS or _is_debugger(name)


def _value(entry: Mapping[str, Any]) -> str:
    """The literal value; a value from elsewhere is unknown and so counts as on."""
    return as_str(entry.get("value")) if entry.get("valueFrom") is None else "from elsewhere"


def _harm(name: str) -> str:
    if name == _REDACTS:
        return "shows the secrets of runtime environments in the dashboard"
    return _HARMS.get(name, _DEBUGGER)
