"""Rows 1 to 3: other start commands, and code that runs before Ray."""

import pytest

from tests.bypasses.admission import (
    HEAD,
    OVERWRITE,
    RAY,
    WORKER,
    by_both,
    passes,
    refused,
    refused_with_derived,
    stored,
)
from tests.support import factory
from tests.support.factory import Object, changed, ray_cluster

INTACT = {"start-command-intact"}


def running(*words: str, place: str = RAY) -> Object:
    return changed(ray_cluster(), {f"{place}/command": list(words)})


@pytest.mark.parametrize(
    "document",
    [
        changed(ray_cluster(), {"/metadata/annotations": OVERWRITE}),
        changed(
            ray_cluster(), {"/metadata/annotations": {"ray.io/overwrite-container-cmd": "TRUE"}}
        ),
        changed(ray_cluster(), {f"{WORKER}/metadata/annotations": OVERWRITE}),
        changed(factory.ray_job(), {"/metadata/annotations": OVERWRITE}),
        changed(
            {**ray_cluster(), "apiVersion": "ray.io/v1alpha1"}, {"/metadata/annotations": OVERWRITE}
        ),
        changed(factory.worker_pod(), {"/metadata/annotations": OVERWRITE}),
        running("ray", "start", "--head"),
        running("ray", "--log-color", "false", "start", "--head", "--block"),
    ],
)
def test_01_overwrite_container_cmd(document: Object) -> None:
    assert refused(document) == INTACT


def test_01_overwrite_container_cmd_in_a_template() -> None:
    template = changed(factory.template("ray-head"), {"/metadata/annotations": OVERWRITE})
    document = changed(ray_cluster(), {HEAD: template})
    assert refused_with_derived(document)[0] == INTACT


@pytest.mark.parametrize(
    "command",
    [
        "export RAY_USE_TLS=0",
        "unset RAY_TLS_CA_CERT",
        "env -u RAY_AUTH_MODE true",
        "RAY_TLS_SERVER_CERT=/mine; :",
        "declare -x RAY_AUTH_TOKEN_PATH=/mine",
    ],
)
@pytest.mark.parametrize(
    "place", [f"{RAY}/args", f"{RAY}/lifecycle", f"{WORKER}/spec/initContainers"]
)
def test_02_commands_before_ray_start(command: str, place: str) -> None:
    shell = ["bash", "-c", command]
    values = {
        "args": [command],
        "lifecycle": {"postStart": {"exec": {"command": shell}}},
        "initContainers": [factory.container("first", command=shell)],
    }
    assert refused(changed(ray_cluster(), {place: values[place.rpartition("/")[2]]})) == INTACT


@pytest.mark.parametrize("name", ["X", "MY X", "X("])
def test_02_commands_by_reference(name: str) -> None:
    """Kubernetes accepts names with blanks and parentheses since 1.32."""
    entries = [{"name": name, "value": "unset RAY_USE_TLS"}]
    assert refused(changed(running(f"$({name})"), {f"{RAY}/env": entries})) == INTACT
    hook = [{"name": name, "value": "export RAY_START_HOOK=mine"}]
    by_hook = changed(running(f"$({name})"), {f"{RAY}/env": hook})
    assert refused(by_hook) == {"no-code-hooks"}


@pytest.mark.parametrize(
    "command",
    [
        'export RAY_"USE"_TLS=0',
        "unset ${!RAY*}",
        "eval $(echo ZXhwb3J0IFJBWV9VU0VfVExTPTA= | base64 -d)",
        ". /mnt/shared/setup.sh",
        "python -m ray.scripts.scripts start --head --block",
    ],
)
def test_02_obfuscation_remains(command: str) -> None:
    assert passes(running("bash", "-c", command))


def test_02_names_that_kubernetes_expands_remain() -> None:
    entries = [{"name": "X", "value": "RAY_USE"}]
    assert passes(changed(running("export $(X)_TLS=0"), {f"{RAY}/env": entries}))


@pytest.mark.parametrize(
    "name",
    ["BASH_ENV", "LD_PRELOAD", "LD_AUDIT", "PYTHONPLATLIBDIR", "PYTHONSTARTUP", "BASH_FUNC_ray%%"],
)
def test_03_variables_that_run_code_before_ray(name: str) -> None:
    entry = {"name": name, "value": "/mnt/shared/mine"}
    from_elsewhere = {
        "name": name,
        "valueFrom": {"configMapKeyRef": {"name": "mine", "key": "path"}},
    }
    for place in (f"{RAY}/env", f"{WORKER}/spec/containers/0/env"):
        assert refused(changed(ray_cluster(), {place: [entry]})) == INTACT
    assert refused(changed(ray_cluster(), {f"{RAY}/env": [from_elsewhere]})) == INTACT
    assert (
        refused(ray_cluster(enableInTreeAutoscaling=True, autoscalerOptions={"env": [entry]}))
        == INTACT
    )
    job = factory.ray_job(submitterPodTemplate=factory.template("ray-job-submitter"))
    assert (
        refused(changed(job, {"/spec/submitterPodTemplate/spec/containers/0/env": [entry]}))
        == INTACT
    )
    assert refused(changed(factory.worker_pod(), {"/spec/initContainers/0/env/-": entry})) == INTACT


def test_03_a_search_path_of_python_is_refused_under_restricted() -> None:
    """Many images need it, and HOME has the same effect."""
    document = changed(ray_cluster(), {f"{RAY}/env": [{"name": "PYTHONPATH", "value": "/app"}]})
    warned, denied = by_both(document)
    assert denied & INTACT == warned & INTACT == INTACT


def test_03_variables_that_only_interactive_shells_read_are_allowed() -> None:
    """`bash -c`, `bash -lc`, `bash --posix -c`, `sh -c` and `dash -c` ignore ENV."""
    assert passes(changed(ray_cluster(), {f"{RAY}/env": [{"name": "ENV", "value": "production"}]}))


def test_03_variables_added_by_an_update() -> None:
    before = stored(ray_cluster())
    assert (
        refused(changed(before, {f"{RAY}/env/-": {"name": "LD_PRELOAD", "value": "/x.so"}}), before)
        == INTACT
    )


@pytest.mark.parametrize("name", ["PATH", "LD_LIBRARY_PATH", "PYTHONWARNINGS"])
def test_03_other_search_paths_remain(name: str) -> None:
    assert passes(changed(ray_cluster(), {f"{RAY}/env": [{"name": name, "value": "/mnt/shared"}]}))


def test_03_variables_from_a_config_map_remain() -> None:
    source = {"prefix": "BASH_", "configMapRef": {"name": "mine"}}
    assert passes(changed(ray_cluster(), {f"{RAY}/envFrom": [source]}))
