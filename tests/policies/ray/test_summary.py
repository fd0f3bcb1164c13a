"""The summary of a workload: what occurs anywhere in its pods."""

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
