"""The stand-ins for other software in the end-to-end tests behave like that software."""

import struct

import pytest

from tests.e2e.captured import fitted, pod_of, ray_cluster_of
from tests.e2e.environment import command_of, expanded, variables
from tests.e2e.name_server import answer
from tests.support.factory import Object

POD: Object = {
    "metadata": {"name": "head", "namespace": "team-a", "labels": {"ray.io/group": "cpu"}},
    "spec": {"serviceAccountName": "ray"},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$(IP):6379", "10.0.0.1:6379"),
        ("$(NOBODY)", "$(NOBODY)"),
        ("$$(IP)", "$(IP)"),
        ("${IP} $IP $", "${IP} $IP $"),
    ],
)
def test_references_are_expanded_as_the_kubelet_does(text: str, value: str) -> None:
    assert expanded(text, {"IP": "10.0.0.1"}) == value


def test_variables_may_refer_to_earlier_variables_and_to_the_pod() -> None:
    env = [
        {"name": "EARLY", "value": "$(IP)"},
        {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        {
            "name": "GROUP",
            "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['ray.io/group']"}},
        },
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "demo", "key": "auth_token"}}},
        {"name": "LATE", "value": "$(IP)/$(GROUP)"},
    ]
    container = {"command": ["sh", "-c"], "args": ["echo $(LATE) $(EARLY)"], "env": env}
    known = variables(container, POD, "10.0.0.1", {("demo", "auth_token"): "x"})
    assert known == {
        "EARLY": "$(IP)",
        "IP": "10.0.0.1",
        "GROUP": "cpu",
        "TOKEN": "x",
        "LATE": "10.0.0.1/cpu",
    }
    assert command_of(container, known) == ["sh", "-c", "echo 10.0.0.1/cpu $(IP)"]


def test_a_reference_without_a_value_is_an_error() -> None:
    for source in (
        {"fieldRef": {"fieldPath": "status.hostIP"}},
        {"secretKeyRef": {"name": "a", "key": "b"}},
    ):
        with pytest.raises(KeyError):
            variables({"env": [{"name": "X", "valueFrom": source}]}, POD, "10.0.0.1", {})


@pytest.mark.parametrize(
    ("name", "kind", "code", "answers"),
    [("demo.svc", 1, 0, 1), ("demo.svc", 28, 0, 0), ("other.svc", 1, 3, 0)],
    ids=["A", "AAAA", "no such name"],
)
def test_the_name_server_answers_queries(name: str, kind: int, code: int, answers: int) -> None:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    query = header + labels + b"\0" + struct.pack("!HH", kind, 1)
    response = answer(query, {"demo.svc": "10.0.0.1"})
    number, flags, questions, answered, *_ = struct.unpack_from("!HHHHHH", response)
    assert (number, flags & 0xF, questions, answered) == (7, code, 1, answers)
    assert response.endswith(bytes([10, 0, 0, 1])) is bool(answers)


def test_captured_pods_are_adapted_to_another_cluster() -> None:
    cluster = ray_cluster_of("demo")
    cluster["metadata"]["uid"] = "u"
    for role in ("head", "worker"):
        pod = pod_of(cluster, role, token=False)
        text = str(pod)
        assert "'training" not in text and "training-head-svc" not in text and "ml-training" in text
        assert "--node-ip-address" not in text and "RAY_AUTH" not in text and "demo-" in text
        command = fitted(pod)["spec"]["containers"][0]["args"][0]
        assert "--block" in command and "--no-monitor" not in command
