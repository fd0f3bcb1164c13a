"""Reading the metadata of objects, also of malformed ones."""

from typing import Any

import pytest

from policies.documents.metadata import (
    ObjectView,
    OwnerReference,
    annotations_of,
    controller_of,
    labels_of,
    metadata_of,
    name_of,
    namespace_of,
)

CLUSTER = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "name": "c",
    "uid": "uid-1",
    "controller": True,
}


def owned(*owners: Any) -> dict[str, Any]:
    return {"metadata": {"ownerReferences": list(owners)}}


def test_each_field_is_read() -> None:
    metadata = {
        "name": "n",
        "namespace": "ns",
        "labels": {"a": "1"},
        "annotations": {"b": "2"},
    }
    document = {"metadata": metadata}
    assert metadata_of(document) == metadata
    assert (name_of(document), namespace_of(document)) == ("n", "ns")
    assert (labels_of(document), annotations_of(document)) == ({"a": "1"}, {"b": "2"})


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"metadata": None},
        {"metadata": "x"},
        {"metadata": {"name": 7, "namespace": [], "labels": "x", "annotations": None}},
        {"metadata": {"ownerReferences": "x"}},
        {"metadata": {"ownerReferences": [None, 7, "x"]}},
    ],
    ids=repr,
)
def test_a_missing_or_malformed_field_reads_as_empty(document: dict[str, Any]) -> None:
    assert (name_of(document), namespace_of(document)) == ("", "")
    assert (labels_of(document), annotations_of(document)) == ({}, {})
    assert controller_of(document) is None


def test_an_owner_of_the_core_group_has_an_empty_group() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "name": "p", "controller": True}
    assert controller_of(owned(pod)) == OwnerReference("", "Pod", "p", "")
    assert controller_of(owned({"controller": True})) == OwnerReference("", "", "", "")


def test_the_controller_is_the_owner_that_says_true() -> None:
    owner = OwnerReference("ray.io", "RayCluster", "c", "uid-1")
    assert controller_of(owned(CLUSTER)) == owner
    assert controller_of(owned({**CLUSTER, "controller": False}, CLUSTER)) == owner
    for not_true in (False, None, "true", 1):
        assert controller_of(owned({**CLUSTER, "controller": not_true})) is None


def test_a_view_is_named_by_the_name_or_else_by_the_prefix_of_a_generated_name() -> None:
    named = {"name": "pod-1", "generateName": "pod-"}
    assert ObjectView("Pod", {"metadata": named}).name == "pod-1"
    assert ObjectView("Pod", {"metadata": {"generateName": "pod-"}}).name == "pod-"
    assert ObjectView("Pod", {}).name == ""


def test_a_view_unpacks_the_metadata_and_keeps_the_document() -> None:
    document = {"metadata": {"labels": {"a": "1"}, "annotations": {"b": "2"}}}
    view = ObjectView("Pod", document)
    assert (view.kind, view.document) == ("Pod", document)
    assert (view.labels, view.annotations) == ({"a": "1"}, {"b": "2"})
