"""Rows 39, 40 and 65: variables and options by which Ray loads code or gives up protection."""

import pytest

from tests.bypasses.admission import KINDS, RAY, WORKER, by_both, passes, refused
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

HOOKS = {"no-code-hooks"}
PARAMS = {"safe-ray-start-params"}
# Each runs code in Ray's own processes or in every worker.
IN_RAY = [
    "RAY_preload_python_modules",
    "__RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH",
    "RAY_SERVE_CONTROLLER_CALLBACK_IMPORT_PATH",
    "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH",
    "RAY_AUTOSCALER_UTILIZATION_SCORER",
    "RAY_DATABRICKS_UC_DATASOURCE_READ_FN_MOCK_TEST_SETUP_FN_PATH",
    "RAY_INTERNAL_MEM_PROFILE_OPTIONS",
    "RAY_JOB_CONFIG_JSON_ENV_VAR",
    "RAY_ON_SPARK_START_HOOK",
    "PERFTOOLS_PATH",
]
# Each runs code where the code of a job runs anyway.
IN_JOBS = [
    "RAYLLM_VLLM_ENGINE_CLS",
    "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
    "RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE",
    "RAY_DATA_EXECUTION_CALLBACKS",
    "RAY_DATA_LOGGING_CONFIG",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
    "RAY_SERVE_HAPROXY_BINARY_PATH",
    "RAY_TRAIN_CALLBACKS",
    "RAY_TUNE_CALLBACKS",
    "WANDB_POPULATE_RUN_LOCATION_HOOK",
    "WANDB_PROCESS_RUN_INFO_HOOK",
    "WANDB_SETUP_API_KEY_HOOK",
]


def with_variable(name: str, value: str = "mine.run") -> Object:
    return changed(ray_cluster(), {f"{RAY}/env": [{"name": name, "value": value}]})


def with_system_config(value: str, name: str = "system-config") -> Object:
    return changed(ray_cluster(), {f"/spec/headGroupSpec/rayStartParams/{name}": value})


@pytest.mark.parametrize("name", IN_RAY)
def test_65_variables_that_load_code_into_ray(name: str) -> None:
    entry = {"name": name, "value": "mine.run"}
    elsewhere = {"name": name, "valueFrom": {"secretKeyRef": {"name": "mine", "key": "hook"}}}
    assert refused(with_variable(name)) == HOOKS
    for kind, place in KINDS:
        container = f"{place}/workerGroupSpecs/0/template/spec/containers/0"
        assert refused(changed(kind(), {f"{container}/env": [entry]})) == HOOKS
    assert (
        refused(changed(ray_cluster(), {f"{WORKER}/spec/containers/0/env": [elsewhere]})) == HOOKS
    )
    assert refused(changed(ray_cluster(), {f"{RAY}/command": [f"export {name}=mine.run"]})) == HOOKS
    assert refused(changed(factory.worker_pod(), {"/spec/containers/0/env/-": entry})) == HOOKS
    assert refused(factory.ray_job(runtimeEnvYAML=f"env_vars: {{{name}: mine.run}}")) == HOOKS


@pytest.mark.parametrize("name", IN_JOBS)
def test_65_variables_that_load_code_into_jobs(name: str) -> None:
    for document in (
        with_variable(name),
        factory.ray_job(runtimeEnvYAML=f"env_vars: {{{name}: mine.run}}"),
        changed(ray_cluster(), {f"{RAY}/command": [f"export {name}=mine.run"]}),
    ):
        warned, denied = by_both(document)
        assert denied & HOOKS == warned & HOOKS == HOOKS


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE", "0"),
        ("RAY_DEBUG_DISABLE_MEMORY_MONITOR", "1"),
        ("RAY_RUNTIME_ENV_HOOK", "ray._private.runtime_env.uv_runtime_env_hook.hook"),
        (
            "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH",
            "ray.serve._private.tracing_utils:default_tracing_exporter",
        ),
        ("RAY_WORKER_PROCESS_SETUP_HOOK_LOAD_TIMEOUT", "60"),
        ("RAY_PRELOAD_PYTHON_MODULES", "mine"),
    ],
)
def test_65_what_ray_ships_and_other_names_are_allowed(name: str, value: str) -> None:
    assert passes(with_variable(name, value))


@pytest.mark.parametrize("name", ["RAY_CONDA_HOME", "CONDA_EXE", "PATH"])
def test_65_where_programs_of_runtime_environments_are_found_remains(name: str) -> None:
    assert passes(with_variable(name, "/mnt/shared"))


@pytest.mark.parametrize(
    "config",
    [
        '{"USE_TLS": false}',
        '{"TLS_CA_CERT": "/mine"}',
        '{"AUTH_MODE": "disabled"}',
        '{"ENABLE_K8S_TOKEN_AUTH": false}',
        '{"enable_cluster_auth": false}',
        '{"preload_python_modules": "mine"}',
        '{"testing_rpc_failure": "*=-1:25:50"}',
        '{"max_io_workers": 4, "USE_TLS": false}',
        '{"max_io_workers": 4, "max_io_workers": 5, "USE_TLS": false, "USE_TLS": true}',
        # Not JSON, or no object: nobody can say what Ray makes of it.
        "{USE_TLS: false}",
        '["USE_TLS"]',
        '{"max_io_workers": NaN}',
        "[" * 4000,
        "",
    ],
)
@pytest.mark.parametrize("name", ["system-config", "system_config"])
def test_40_keys_of_system_config(config: str, name: str) -> None:
    assert refused(with_system_config(f"'{config}'", name)) == PARAMS
    escaped = config.replace('"', '\\"')
    assert refused(with_system_config(f'"{escaped}"', name)) == PARAMS


@pytest.mark.parametrize(
    "value",
    [
        '{"USE_TLS":false}',
        # The shell joins these parts into one word.
        """'{"max_io_workers": 4, "'USE_TLS'": false}'""",
        '\'{"max_io_workers": 4, \'"\\"USE_TLS\\": false}"',
        "'{\"USE_TL\\u0053\": false}'",
        "{}",
    ],
)
def test_40_system_config_as_the_shell_reads_it(value: str) -> None:
    assert refused(with_system_config(value)) == PARAMS


@pytest.mark.parametrize(
    "config",
    [
        "{}",
        '{"object_spilling_config": "/mnt/spill", "max_io_workers": 4}',
        '{"object_spilling_threshold": 0.9, "automatic_object_spilling_enabled": true}',
        '{"health_check_period_ms": 5000}',
    ],
)
def test_40_a_harmless_system_config_is_allowed(config: str) -> None:
    escaped = config.replace('"', '\\"')
    for value in (f"'{config}'", f'"{escaped}"'):
        assert passes(with_system_config(value))
        document = {"/spec/workerGroupSpecs/0/rayStartParams/system-config": value}
        assert passes(changed(ray_cluster(), document))


@pytest.mark.parametrize("module", ["setup_local_tmp_tracing", "setup_tempo_tracing"])
def test_65_rays_own_tracing_hooks_are_allowed(module: str) -> None:
    place = "/spec/headGroupSpec/rayStartParams/tracing-startup-hook"
    hook = f"ray.util.tracing.{module}:setup_tracing"
    assert passes(changed(ray_cluster(), {place: hook}))
    assert passes(changed(ray_cluster(), {place: f"'{hook}'"}))
    for other in (f"{hook}2", f"mine.{hook}", "ray.util.tracing.mine:setup_tracing", "os:abort"):
        assert refused(changed(ray_cluster(), {place: other})) == PARAMS


@pytest.mark.parametrize("name", ["autoscaling-config", "autoscaling_config"])
def test_65_the_node_provider_of_an_autoscaling_config(name: str) -> None:
    for group in ("headGroupSpec", "workerGroupSpecs/0"):
        change = {f"/spec/{group}/rayStartParams/{name}": "/mnt/mine/autoscaling.yaml"}
        assert refused(changed(ray_cluster(), change)) == PARAMS


POD_IP = {"name": "MY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


@pytest.mark.parametrize("address", ["$MY_POD_IP", "${MY_POD_IP}", "$(MY_POD_IP)"])
def test_39_the_pod_ip_of_older_samples_is_allowed(address: str) -> None:
    place = "/spec/headGroupSpec/rayStartParams/node-ip-address"
    document = changed(ray_cluster(), {place: address, f"{RAY}/env": [POD_IP]})
    assert passes(document)
    for env in (
        [],
        [{"name": "MY_POD_IP", "value": "x --system-config={}"}],
        [POD_IP, {"name": "MY_POD_IP", "value": "x --system-config={}"}],
        [{"name": "MY_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        [{**POD_IP, "value": "x"}],
    ):
        assert refused(changed(document, {f"{RAY}/env": env})) == PARAMS
    for more in (f"{address};id", f"x{address}", f"{address}{address}"):
        assert refused(changed(document, {place: more})) == PARAMS
    # bash sets PWD itself, to a directory that the author names.
    by_bash = {
        f"{RAY}/env": [{**POD_IP, "name": "PWD"}],
        place: address.replace("MY_POD_IP", "PWD"),
    }
    assert refused(changed(document, by_bash)) == PARAMS
    other = "/spec/headGroupSpec/rayStartParams/num-cpus"
    assert refused(changed(document, {other: address})) == PARAMS
