"""What `kuberay-accepts` says of the fields of a manifest as it is written."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.pointer import Pointer
from policies.evaluate import is_subject
from policies.kuberay.as_written import AsWritten
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Kind
from tests.policies.kuberay.judging import SCHEMAS, in_fields
from tests.support import factory
from tests.support.factory import Object, changed

HEAD = "/spec/headGroupSpec"
RAY = f"{HEAD}/template/spec/containers/0"
WORKERS = "/spec/workerGroupSpecs/0"
UNKNOWN = "kubectl refuses it, and other clients drop it"


def one(document: Object, version: str = "") -> tuple[str, str, str]:
    """The place, the message and the remediation of the only thing that is wrong."""
    (refusal,) = in_fields(document, version)
    return str(refusal.pointer), refusal.message, refusal.remediation


def cluster(**changes: Any) -> Object:
    return changed(factory.ray_cluster(), changes)


@pytest.mark.parametrize("version", ["", "1.5", "1.6", "1.7", "1.7.2"])
def test_a_minimal_manifest_is_accepted(version: str) -> None:
    for document in (factory.ray_cluster(), factory.ray_job(), factory.ray_service()):
        assert in_fields(document, version) == []
    if version != "1.5":
        assert in_fields(factory.ray_cron_job(), version) == []


def test_a_kind_that_is_not_there_yet() -> None:
    place, message, remedy = one(factory.ray_cron_job(), "1.5")
    assert place == "/apiVersion"
    assert message == (
        "the API server refuses the object: KubeRay 1.5 has no RayCronJob in the version v1"
    )
    assert remedy == "upgrade to KubeRay 1.6"


def test_a_version_that_was_never_there() -> None:
    document = cluster(**{"/apiVersion": "ray.io/v1beta1"})
    assert one(document)[2] == "set apiVersion: ray.io/v1"


@pytest.mark.parametrize(
    ("place", "value", "meant", "remedy"),
    [
        (f"{WORKERS}/minReplica", 1, "minReplicas", "remove minReplica"),
        (f"{WORKERS}/numOfHost", 1, "numOfHosts", "rename numOfHost to numOfHosts"),
        ("/spec/rayversion", "2.60.0", "rayVersion", "remove rayversion"),
        (f"{RAY}/volumeMount", [], "volumeMounts", "rename volumeMount to volumeMounts"),
        (f"{RAY}/limits", {}, "resources.limits", "move limits into resources"),
        (f"{HEAD}/template/nodeName", "a", "spec.nodeName", "move nodeName into spec"),
        (f"{RAY}/volumes", [], "spec.headGroupSpec.template.spec.volumes",
         "move volumes up to spec.headGroupSpec.template.spec"),
        ("/metadata/lables", {}, "labels", "rename lables to labels"),
        ("/sepc", {}, "spec", "remove sepc"),
    ],
)  # fmt: skip
def test_what_was_meant(place: str, value: Any, meant: str, remedy: str) -> None:
    found = one(cluster(**{place: value}))
    assert found[0] == place
    assert found[1].endswith(f"{UNKNOWN}; did you mean {meant}?")
    assert found[2] == remedy


def test_nothing_near_was_meant() -> None:
    found = one(cluster(**{"/spec/zzz": 1}))
    assert found == ("/spec/zzz", f"KubeRay 1.7 has no field zzz in spec: {UNKNOWN}", "remove zzz")


@pytest.mark.parametrize(
    ("version", "place", "value", "has"),
    [
        ("1.5.0", "/spec/authOptions", {"mode": "token"}, "1.5.1"),
        ("1.5", "/spec/authOptions/enableK8sTokenAuth", True, "1.6"),
        ("1.6", "/spec/networkPolicy", {}, "1.7"),
        ("1.6", "/spec/tlsOptions", {"enabled": True}, "1.7"),
        ("1.5", "/spec/upgradeStrategy", {"type": "Recreate"}, "1.6"),
    ],
)
def test_a_later_kuberay_has_the_field(version: str, place: str, value: Any, has: str) -> None:
    found = one(cluster(**{place: value}), version)
    assert f", KubeRay {has} has: " in found[1]
    assert found[2] == f"remove {place.rpartition('/')[2]}, or upgrade to KubeRay {has}"
    assert in_fields(cluster(**{place: value}), has) == []


def test_a_kuberay_that_is_newer_than_the_tables() -> None:
    assert in_fields(cluster(**{"/spec/zzz": 1}), "1.8") == []


@pytest.mark.parametrize(
    ("place", "value", "message", "remedy"),
    [
        (f"{WORKERS}/replicas", "2", "it must be a whole number, not a string", "set replicas: 2"),
        (f"{WORKERS}/replicas", 1.5, "it must be a whole number, not a number",
         "write a whole number for spec.workerGroupSpecs.replicas"),
        ("/spec/enableInTreeAutoscaling", "true", "it must be true or false, not a string",
         "set enableInTreeAutoscaling: true"),
        (f"{HEAD}/rayStartParams/num-cpus", 0, "it must be a string, not a number",
         'set num-cpus: "0"'),
        ("/spec/rayVersion", 2.6, "it must be a string, not a number",
         "put the value of spec.rayVersion in quotes"),
        (f"{RAY}/args", {"a": "b"}, "it must be a list, not a mapping",
         "write a list for spec.headGroupSpec.template.spec.containers.args"),
        (f"{RAY}/args", ["a", None], "it must be a string, not null",
         "write a string for spec.headGroupSpec.template.spec.containers.args"),
        (f"{RAY}/resources/limits/memory", "8GB", "it is not a quantity",
         "correct spec.headGroupSpec.template.spec.containers.resources.limits.memory"),
    ],
)  # fmt: skip
def test_wrong_types(place: str, value: Any, message: str, remedy: str) -> None:
    found = one(cluster(**{place: value}))
    assert found[0].startswith(place)
    assert found[1].endswith(f": {message}")
    assert found[2] == remedy


def test_the_value_of_a_variable_is_not_repeated() -> None:
    document = cluster(**{f"{RAY}/env": [{"name": "PASSWORD", "value": 123456}]})
    (refusal,) = in_fields(document)
    assert "123456" not in f"{refusal.message} {refusal.remediation}"


def test_an_enum_and_a_choice() -> None:
    assert one(cluster(**{"/spec/authOptions/mode": "tokens"}))[1].endswith(
        "that is none of disabled, token"
    )
    assert "kueue.x-k8s.io/multikueue" in one(cluster(**{"/spec/managedBy": "me"}))[1]


def test_a_required_field() -> None:
    found = one(cluster(**{f"{WORKERS}/groupName": None}))
    assert found == (
        WORKERS,
        "the API server refuses spec.workerGroupSpecs without groupName",
        "add groupName to spec.workerGroupSpecs",
    )


def test_entries_with_the_same_key() -> None:
    ports = [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]
    found = one(cluster(**{f"{RAY}/ports": ports}))
    assert found[0] == f"{RAY}/ports/1"
    assert found[1].endswith("with the same containerPort and protocol (1, TCP)")


@pytest.mark.parametrize("value", ["$REPLICAS", "${REPLICAS}", "{{ .Values.replicas }}"])
def test_placeholders_are_not_checked(value: str) -> None:
    assert in_fields(cluster(**{f"{WORKERS}/replicas": value})) == []


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{WORKERS}/groupName", "gpu_group"),
        (f"{WORKERS}/groupName", "g" * 64),
        (f"{HEAD}/headService", {"metadata": {"name": "Head"}}),
        (f"{HEAD}/template/metadata", {"labels": {"a": "b c"}}),
        ("/metadata/labels", {"a": "v" * 64}),
    ],
)
def test_names_that_the_api_server_refuses_later(place: str, value: Any) -> None:
    (refusal,) = in_fields(cluster(**{place: value}))
    assert str(refusal.pointer).startswith(place)
    assert refusal.message.startswith("the API server refuses the ")


@pytest.mark.parametrize("name", ["GPU-group", "gpu", "g.p.u"])
def test_names_that_work(name: str) -> None:
    assert in_fields(cluster(**{f"{WORKERS}/groupName": name})) == []


_scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
_names = st.sampled_from(["spec", "containers", "name", "env", "", "é", "\x00", "template"])
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=12,
)
_PLACES = (HEAD, RAY, WORKERS, "/spec", "/metadata", "/metadata/labels", f"{RAY}/ports", "/kind")


@given(st.sampled_from(_PLACES), _json, st.sampled_from(["", "1.5", "1.8"]))
def test_any_json_is_read(place: str, value: Any, version: str) -> None:
    document = changed(factory.ray_cluster(), {place: value})
    for refusal in in_fields(document, version):
        assert refusal.message.isprintable()
        assert refusal.remediation
        # A missing field has the place of the object that lacks it.
        assert Pointer(refusal.pointer[:-1]).read(document) is not None


@given(st.dictionaries(_names, _json, max_size=4))
def test_any_document_is_read(document: Object) -> None:
    for kind in ("RayCluster", "RayJob", "RayService", "RayCronJob", "Other"):
        written = {**document, "apiVersion": "ray.io/v1", "kind": kind}
        list(AsWritten(written, SCHEMAS).refusals(KubeRayOperator()))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("/spec", {f"field{number}": number for number in range(20_000)}),
        (f"{RAY}/env", [{"name": "A"}] * 20_000),
        (f"{RAY}/args", [1] * 50_000),
        ("/metadata/labels", {f"a b{number}": "c" for number in range(20_000)}),
        (f"{RAY}/resources/limits", {f"r{number}": "9" * 900 + "x" for number in range(2_000)}),
    ],
    ids=["fields", "variables", "types", "labels", "quantities"],
)
def test_large_manifests_cost_little(place: str, value: Any) -> None:
    document = cluster(**{place: value})
    assert is_subject(Kind.of(document), document)
    started = time.process_time()
    found = in_fields(document)
    assert time.process_time() - started < 2
    assert found
