"""Rows 31, 39, 40, 42 and 43: parameters and variables that weaken Ray, and the code of jobs."""

from typing import Any

import pytest

from tests.bypasses.admission import HEAD, RAY, WORKER, by_both, passes, refused, stored
from tests.support import factory, related_objects
from tests.support.factory import Object, changed, ray_cluster

PARAMS = {"safe-ray-start-params"}
HOOKS = {"no-code-hooks"}
KINDS = [
    (factory.ray_cluster, "/spec"),
    (factory.ray_job, "/spec/rayClusterSpec"),
    (factory.ray_service, "/spec/rayClusterConfig"),
    (factory.ray_cron_job, "/spec/jobTemplate/rayClusterSpec"),
]
OFF = '{"USE_TLS":false}'


@pytest.mark.parametrize(
    "content", ["env_vars: {RAY_START_HOOK: mine.run}", '{"env_vars": {"RAY_DEBUG": "1"}}']
)
def test_31_hooks_in_runtime_environments(content: str) -> None:
    assert refused(factory.ray_job(runtimeEnvYAML=content)) == HOOKS
    assert refused(factory.ray_cron_job(runtimeEnvYAML=content)) == HOOKS
    flow = content if content.startswith("{") else "{" + content + "}"
    serve = f"applications: [{{name: a, runtime_env: {flow}}}]"
    assert refused(factory.ray_service(serveConfigV2=serve)) == HOOKS
    assert refused(factory.ray_service(serveConfigV2=serve), factory.ray_service()) == HOOKS


@pytest.mark.parametrize("content", ["a: &a [*a]", "a: [", "x: " + "1" * 300_000])
def test_31_an_unreadable_runtime_environment_is_refused(content: str) -> None:
    assert refused(factory.ray_job(runtimeEnvYAML=content)) == {"no-literal-credentials"}


def test_31_images_of_runtime_environments() -> None:
    policy = {"rules": {"trusted-images": {"parameters": {"registries": ["rayproject/*"]}}}}
    for content in ("image_uri: mine/ray:1", "container: {image: mine/ray:1}"):
        assert refused(factory.ray_job(runtimeEnvYAML=content), policy=policy) == {"trusted-images"}


@pytest.mark.parametrize(
    "content",
    ["working_dir: https://mine.example/code.zip", "py_executable: bash -c id", "pip: [mine]"],
)
def test_31_the_code_of_a_job_remains(content: str) -> None:
    """Jobs exist to run code, and admission does not see jobs that are submitted to Ray itself."""
    assert passes(factory.ray_job(runtimeEnvYAML=content))
    assert passes(
        factory.ray_job(entrypoint="ray job submit --runtime-env-json '{}' -- bash -c id")
    )


@pytest.mark.parametrize(
    "value",
    [
        "1; export RAY_USE_TLS=0",
        "$(id)",
        "`id`",
        "1\nexport RAY_USE_TLS=0",
        "1 --system-config={}",
        "1 && id",
        "1|id",
        "$HOME",
        "$(RAYWARDEN_POD_IP);id",
        "'1' ; id",
        '"$(id)"',
        "1\t2",
        "1\u00a0;2",
        "{a,b}",
        "~",
        "1#\\",
    ],
)
@pytest.mark.parametrize(("kind", "place"), KINDS)
def test_39_shell_in_start_parameters(kind: Any, place: str, value: str) -> None:
    for group in ("headGroupSpec", "workerGroupSpecs/0"):
        change = {f"{place}/{group}/rayStartParams/num-cpus": value}
        assert refused(changed(kind(), change)) == PARAMS


@pytest.mark.parametrize("name", ["num-cpus=1;id", "--num-cpus", "a b", "$(id)", ""])
def test_39_shell_in_names_of_start_parameters(name: str) -> None:
    assert (
        refused(changed(ray_cluster(), {f"/spec/headGroupSpec/rayStartParams/{name}": "1"}))
        == PARAMS
    )


@pytest.mark.parametrize(
    "change",
    [
        {"/spec/headGroupSpec/resources": {"a'; id; '": "1"}},
        {"/spec/headGroupSpec/labels": {"a": "$(id)"}},
        {"/spec/workerGroupSpecs/0/labels": {"a;id": "1"}},
        {"/spec/headGroupSpec/headService/metadata/name": "a;id"},
        {
            "/spec/gcsFaultToleranceOptions": {
                "redisAddress": "r",
                "redisUsername": {"value": "a --system-config={}"},
            }
        },
        {f"{RAY}/env": [{"name": "REDIS_USERNAME", "value": "a --system-config={}"}]},
    ],
)
def test_39_shell_in_other_parts_of_the_command(change: Object) -> None:
    assert refused(changed(ray_cluster(), change)) == PARAMS


def test_39_shell_added_by_an_update() -> None:
    before = stored(changed(ray_cluster(), {"/spec/headGroupSpec/rayStartParams/num-cpus": "1"}))
    worse = changed(before, {"/spec/headGroupSpec/rayStartParams/num-cpus": "1;id"})
    assert refused(worse, before) == PARAMS
    # The stored parameter was wrong already; the update makes it wrong in another way.
    assert (
        refused(changed(worse, {"/spec/headGroupSpec/rayStartParams/num-cpus": "1|id"}), worse)
        == PARAMS
    )


@pytest.mark.parametrize("name", ["system-config", "system_config", "System-Config"])
@pytest.mark.parametrize("value", [OFF, '{"AUTH_MODE":"disabled"}', f"'{OFF}'", "{}"])
@pytest.mark.parametrize("group", ["headGroupSpec", "workerGroupSpecs/0"])
def test_40_system_config(name: str, value: str, group: str) -> None:
    assert (
        refused(changed(ray_cluster(), {f"/spec/{group}/rayStartParams/{name}": value})) == PARAMS
    )


def test_40_system_config_in_commands() -> None:
    for words in (["ray start --head --system-config", OFF], ["echo", f"--system_config={OFF}"]):
        document = changed(ray_cluster(), {f"{RAY}/command": ["bash", "-c", *words]})
        assert refused(document) == {"start-command-intact"}
        assert refused(changed(factory.head_pod(), {"/spec/containers/0/args": words})) == {
            "start-command-intact"
        }


def test_40_words_in_a_redis_password_from_a_secret_remain() -> None:
    """KubeRay pastes `$REDIS_PASSWORD` without quotes, and admission never sees Secrets."""
    password = {"valueFrom": {"secretKeyRef": {"name": "mine", "key": "password"}}}
    assert passes(
        ray_cluster(
            gcsFaultToleranceOptions={"redisAddress": "redis:6379", "redisPassword": password}
        )
    )


@pytest.mark.parametrize(
    "name",
    [
        "RAY_START_HOOK",
        "RAY_RUNTIME_ENV_HOOK",
        "RAY_RUNTIME_ENV_PLUGINS",
        "RAY_JOB_SUBMIT_HOOK",
        "RAY_CLUSTER_ACTIVITY_HOOK",
        "RAY_JEMALLOC_LIB_PATH",
        "RAY_DASHBOARD_DEV",
        "RAY_DEBUG_POST_MORTEM",
        "REMOTE_PDB_HOST",
    ],
)
def test_42_hooks_in_variables(name: str) -> None:
    entry = {"name": name, "value": "1"}
    elsewhere = {"name": name, "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "hook"}}}
    for kind, place in KINDS:
        for group in ("headGroupSpec", "workerGroupSpecs/0"):
            assert (
                refused(
                    changed(kind(), {f"{place}/{group}/template/spec/containers/0/env": [entry]})
                )
                == HOOKS
            )
    assert (
        refused(changed(ray_cluster(), {f"{WORKER}/spec/containers/0/env": [elsewhere]})) == HOOKS
    )
    assert (
        refused(ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions={"env": [entry]}))
        == HOOKS
    )
    assert refused(changed(ray_cluster(), {f"{RAY}/command": [f"export {name}=mine.run"]})) == HOOKS
    assert refused(changed(factory.worker_pod(), {"/spec/containers/0/env/-": entry})) == HOOKS
    assert refused(changed(factory.submitter_pod(), {"/spec/containers/0/env": [entry]})) == HOOKS


def test_42_hooks_from_a_config_map_remain() -> None:
    assert passes(changed(ray_cluster(), {f"{RAY}/envFrom": [{"configMapRef": {"name": "mine"}}]}))


@pytest.mark.parametrize(
    "document",
    [
        changed(ray_cluster(), {"/spec/authOptions": None, "/spec/rayVersion": "2.53.0"}),
        ray_cluster(authOptions={"mode": "disabled"}),
        ray_cluster(authOptions={}),
        changed(
            factory.ray_job(),
            {"/spec/rayClusterSpec/authOptions": None, "/spec/rayClusterSpec/rayVersion": None},
        ),
        changed(factory.worker_pod(), {"/spec/containers/0/env": []}),
        changed(factory.opted_in_pod(), {"/spec/containers/0/env": []}),
    ],
)
def test_43_the_job_agent_without_a_token(document: Object) -> None:
    """Refused by `restricted` only, where RayWarden does not turn tokens on by itself."""
    warned, denied = by_both(document)
    assert "auth-on" in warned & denied


def test_43_a_proxy_is_not_enough_if_the_agent_is_open() -> None:
    proxied = changed(
        ray_cluster(),
        {
            "/spec/authOptions": None,
            "/spec/headGroupSpec/rayStartParams/dashboard-host": "127.0.0.1",
            f"{HEAD}/spec/containers/-": factory.container(
                "proxy", image="quay.io/brancz/kube-rbac-proxy:v0.18.0"
            ),
        },
    )
    assert "auth-on" not in by_both(proxied)[0], "the namespace has a policy that closes the pods"
    opened = changed(
        related_objects.network_policy(), {"/spec/ingress": [{}], "/metadata/name": "wide"}
    )
    warned, denied = by_both(proxied, None, opened)
    assert "auth-on" in warned & denied


def test_43_a_proxy_recognized_by_its_name_remains() -> None:
    proxied = changed(
        ray_cluster(),
        {
            "/spec/authOptions": None,
            "/spec/headGroupSpec/rayStartParams/dashboard-host": "127.0.0.1",
            f"{HEAD}/spec/containers/-": factory.container(
                "proxy", image="mine.example/oauth2-proxy:1"
            ),
        },
    )
    assert "auth-on" not in by_both(proxied)[1]


def test_43_ray_without_tokens_under_baseline_remains() -> None:
    assert passes(changed(ray_cluster(), {"/spec/authOptions": None}))


def test_40_tokens_turned_off_in_one_container() -> None:
    entry = {"name": "RAY_AUTH_MODE", "value": "disabled"}
    assert refused(changed(ray_cluster(), {f"{RAY}/env": [entry]})) == {"auth-on"}
