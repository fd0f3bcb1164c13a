"""Row 71: manifests that say something else offline than to the API server.

The expected values of scalars are those of kubectl 1.32 (`kubectl label --local -o json`).
"""

import json
from typing import Any

import pytest
import yaml

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all
from tests.support import factory
from tests.support.factory import Object, changed
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest, UnreadableManifest, objects

PRIVILEGED = changed(
    factory.ray_cluster(),
    {"/spec/headGroupSpec/template/spec/containers/0/securityContext": {"privileged": True}},
)
HOST_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "namespace": "team-a", "labels": {"ray.io/node-type": "head"}},
    "spec": {"hostNetwork": True, "containers": [factory.container("ray")]},
}


def refused(content: str) -> set[str]:
    """The rules that refuse something in a file, reviewed offline."""
    rules: set[str] = set()
    for result in objects("test", content.encode()):
        assert isinstance(result, Manifest), result
        reviewed = review_manifest(factory.reviewer(), result, "team-a")
        if reviewed:
            rules |= {violation.rule for violation in reviewed.outcome.denied}
    return rules


def without(document: Object, *names: str) -> Object:
    return {name: value for name, value in document.items() if name not in names}


def list_of(item: Object, kind: str, api_version: str = "ray.io/v1") -> Object:
    return {"apiVersion": api_version, "kind": kind, "items": [item]}


LISTS = [
    list_of(without(PRIVILEGED, "kind", "apiVersion"), "RayClusterList"),
    list_of(without(PRIVILEGED, "kind"), "RayClusterList"),
    list_of(without(PRIVILEGED, "apiVersion"), "RayClusterList"),
    list_of(PRIVILEGED | {"kind": "", "apiVersion": ""}, "RayClusterList"),
    list_of(PRIVILEGED | {"kind": None, "apiVersion": None}, "RayClusterList"),
    list_of(without(HOST_POD, "kind", "apiVersion"), "PodList", "v1"),
    # kubectl takes every object with `items` for a list, whatever its kind.
    list_of(PRIVILEGED, "RayCluster"),
    list_of(PRIVILEGED, "Anything"),
    list_of(without(PRIVILEGED, "kind", "apiVersion"), "RayCluster"),
    list_of(list_of(without(PRIVILEGED, "kind", "apiVersion"), "RayClusterList"), "List", "v1"),
    list_of(PRIVILEGED, "ConfigMapList", "v1"),
]


@pytest.mark.parametrize("document", LISTS)
@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump], ids=["json", "yaml"])
def test_71_items_of_lists_are_read(document: Object, dump: Any) -> None:
    assert refused(dump(document)) & {"no-privileged", "no-host-access"}


@pytest.mark.parametrize(
    "document",
    [
        list_of(without(PRIVILEGED, "kind", "apiVersion"), "List", "v1"),
        list_of(without(PRIVILEGED, "kind"), "List", "v1"),
        list_of(without(PRIVILEGED, "apiVersion"), "List", "v1"),
        {"kind": "RayClusterList", "items": [without(PRIVILEGED, "kind", "apiVersion")]},
        list_of(PRIVILEGED | {"kind": 7}, "RayClusterList"),
    ],
)
def test_71_items_whose_kind_is_unknown_are_an_error(document: Object) -> None:
    (result,) = objects("test", json.dumps(document).encode())
    assert isinstance(result, UnreadableManifest)
    assert "set apiVersion and kind" in result.why


def test_71_values_files_and_empty_lists_stay_allowed() -> None:
    values = b"items: [{image: rayproject/ray, replicas: 3}]\nreplicas: 1\n"
    assert list(objects("values.yaml", values)) == []
    assert list(objects("none", b"apiVersion: v1\nkind: List\nitems: []\n")) == []
    (config,) = objects("c", b"apiVersion: v1\nkind: ConfigMap\ndata: {items: '[]'}\n")
    assert isinstance(config, Manifest)


TRUE = [
    "!!bool yes",
    "!!bool 'on'",
    '!!bool "y"',
    "!<tag:yaml.org,2002:bool> TRUE",
    "!!bool >-\n    yes",
    "&a !!bool true",
]
MANIFEST = f"{yaml.safe_dump(factory.ray_cluster())}---\n" + "\n".join(
    [
        "apiVersion: v1",
        "kind: Pod",
        "metadata: {name: p, namespace: team-a, labels: {ray.io/node-type: head}}",
        "spec:",
        "  serviceAccountName: ray",
        "  {field}: {value}",
        "  containers: [{name: ray, image: 'rayproject/ray:2.60.0'}]",
    ]
)


def pod_with(field: str, value: str) -> str:
    return MANIFEST.replace("{field}", field).replace("{value}", value)


@pytest.mark.parametrize("value", TRUE)
def test_71_booleans_with_a_tag(value: str) -> None:
    assert "no-host-access" in refused(pod_with("hostNetwork", value))


@pytest.mark.parametrize("key", ["!!binary aG9zdE5ldHdvcms=", "!!str hostNetwork", "! hostNetwork"])
def test_71_keys_with_a_tag(key: str) -> None:
    assert "no-host-access" in refused(pod_with(key, "true"))


def test_71_a_quoted_merge_key_is_a_field_that_does_not_exist() -> None:
    quoted = 'base: &b {x: 1}\nown: {"<<": *b}\ntagged: {!!str <<: *b}\nmerged: {!!merge <<: *b}\n'
    assert list(load_all(quoted)) == [
        {
            "base": {"x": 1},
            "own": {"<<": {"x": 1}},
            "tagged": {"<<": {"x": 1}},
            "merged": {"x": 1},
        }
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!!bool 'off'", False),
        ("!!int '0'", 0),
        ("!!int 0x1F", 31),
        ("!!int +0", 0),
        ("!!int -0b1_1", -3),
        ("!!float 5", 5),
        ("!!float '1.5'", 1.5),
        ("!!float 0b1", 1),
        ("!!null ''", None),
        ("!!null", None),
        ("!!null ~", None),
        ("!!str yes", "yes"),
        ("!!str", ""),
        ("!!binary dHJ1ZQ==", "true"),
        ("!!binary", ""),
        ("!!timestamp 2026-01-01", "2026-01-01"),
        ("!foo yes", "yes"),
        ("! 5", "5"),
        ("!!str [yes]", [True]),
        ("0b101", 5),
        ("-0b11", -3),
        ("0B1", 1),
        ("0X1F", 31),
        ("0O17", 15),
        ("1_", 1),
        ("0b1_0", 2),
        ("0b2", "0b2"),
        ("08", 8),
        ("8265.0", 8265),
        ("1e3", 1000),
        ("1e400", "1e400"),
    ],
)
def test_71_scalars_have_the_values_that_kubectl_reads(value: str, expected: Any) -> None:
    (document,) = load_all(f"a: {value}\n")
    assert document == {"a": expected}
    assert type(document["a"]) is type(expected)


def test_71_whole_numbers_with_a_decimal_point() -> None:
    ports = '[{"port": 80, "targetPort": 8265.0}, {"port": 81.0, "targetPort": 1.0001e4}]'
    service = (
        '{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "team-a"},'
        f' "spec": {{"type": "NodePort", "selector": {{"a": "b"}}, "ports": {ports}}}}}'
    )
    assert refused(service) == {"no-public-ray-service"}
    assert refused("---\n" + service) == {"no-public-ray-service"}
    (result,) = objects("test", service.replace("8265.0", "0.5").encode())
    assert isinstance(result, Manifest)
    targets = [port["targetPort"] for port in result.document["spec"]["ports"]]
    assert targets == [0.5, 10001]
    assert [type(target) for target in targets] == [float, int]


@pytest.mark.parametrize(
    "value",
    [
        "!!bool 1",
        "!!bool maybe",
        "!!bool",
        "!!bool |\n yes\n",
        "!!int yes",
        "!!int 1.5",
        "!!int 1.0",
        "!!int 1e3",
        "!!int 2026-01-01",
        "!!float yes",
        "!!null foo",
        "!!timestamp yes",
        "!!binary '???'",
        "!!binary eWV6Cg",
    ],
)
def test_71_scalars_that_kubectl_cannot_read_are_an_error(value: str) -> None:
    with pytest.raises(UntrustedYamlError, match="line 1, column 4: "):
        list(load_all(f"a: {value}\n"))
