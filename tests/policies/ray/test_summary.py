"""The summary of a workload: what occurs anywhere in its pods."""

import pytest

from policies.ray.workload import Kind, Workload
from tests.support import factory
from tests.support.factory import Object, changed

_HEAD = "/spec/headGroupSpec/template/spec"


def view(document: Object) -> Workload:
    workload = Workload.of(Kind.of(document), document)
    assert workload
    return workload


def test_the_summary_has_what_stands_in_any_pod_container_volume_port_and_context() -> None:
    cluster = changed(
        factory.ray_cluster(autoscalerOptions={"env": [{"name": "OPTION", "value": "of-it"}]}),
        {
            f"{_HEAD}/hostPID": True,
            f"{_HEAD}/securityContext": {"sysctls": []},
            f"{_HEAD}/volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            f"{_HEAD}/containers/0/ports": [{"hostPort": 1}],
            f"{_HEAD}/containers/0/securityContext": {"capabilities": {"add": ["KILL"]}},
            f"{_HEAD}/containers/0/volumeMounts": [{"name": "v", "mountPath": "/mnt/v"}],
            f"{_HEAD}/initContainers": [
                factory.container("first", command=["echo", "one"], env=[{"name": "INIT"}])
            ],
        },
    )
    summary = view(cluster).summary
    assert summary.fields >= {"hostPID", "sysctls", "hostPath", "hostPort", "capabilities", "add"}
    assert summary.variables == {"OPTION", "INIT"}
    assert set(summary.variable_text.split("\n")) == summary.variables
    assert summary.literal_text == "of-it"
    assert summary.mount_paths == "/mnt/v"
    assert set(summary.command_text.split("\n")) == {"echo", "one"}


def test_the_summary_of_strange_values_is_empty() -> None:
    odd = changed(
        factory.ray_cluster(),
        {
            f"{_HEAD}/volumes": "none",
            f"{_HEAD}/containers/0/env": {"A": "1"},
            f"{_HEAD}/containers/0/volumeMounts": [1, None],
            f"{_HEAD}/containers/0/command": [1, {}],
        },
    )
    summary = view(odd).summary
    assert summary.variables == set()
    assert (summary.mount_paths, summary.command_text, summary.literal_text) == ("", "", "")


def test_a_mount_without_a_path_has_an_empty_line() -> None:
    mounts = [{"name": "nowhere"}, {"name": "v", "mountPath": "/mnt/v"}]
    cluster = changed(factory.ray_cluster(), {f"{_HEAD}/containers/0/volumeMounts": mounts})
    assert set(view(cluster).summary.mount_paths.split("\n")) == {"", "/mnt/v"}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"name": "NAME", "value": "ray start"}, True),
        ({"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, False),
        ({"name": "OTHER", "value": "ray start"}, False),
    ],
)
def test_a_command_expands_only_variables_with_a_literal(entry: Object, expected: bool) -> None:
    fields = {"command": ["echo", "$(NAME)"], "env": [entry]}
    containers = [factory.container("ray-head", **fields)]
    cluster = changed(factory.ray_cluster(), {f"{_HEAD}/containers": containers})
    assert view(cluster).summary.expands_literals is expected


def test_equal_values_in_a_row_are_there_once() -> None:
    cluster = factory.ray_cluster()
    summary = view(cluster).summary
    head = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    assert summary.values_of("resources") == [head["resources"]]
    assert summary.values_of("name") == ["ray-head", "ray-worker"]
