"""The draft: the operations it records are the changes it made."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.draft import Draft, UnreadableValueError
from policies.documents.pointer import ROOT, Pointer

names = st.sampled_from(["a", "b", "a/b", "~", "metadata"])
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)
documents = st.dictionaries(
    names,
    st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    ),
)
pointers = st.lists(names | st.integers(0, 2), min_size=1, max_size=4).map(Pointer)
steps = st.one_of(
    st.tuples(st.just("set"), pointers, scalars.filter(lambda value: value is not None)),
    st.tuples(
        st.just("fill"),
        pointers,
        st.dictionaries(names, st.integers() | st.dictionaries(names, st.integers())),
    ),
    st.tuples(
        st.just("insert"),
        pointers,
        st.lists(st.integers() | st.dictionaries(names, st.integers()), max_size=3),
    ),
    st.tuples(st.just("replace"), pointers, st.integers()),
    st.tuples(st.just("remove"), pointers, st.none()),
)


def apply(draft: Draft, step: tuple[str, Pointer, Any]) -> None:
    verb, pointer, value = step
    match verb:
        case "set":
            draft.set(pointer, value)
        case "fill":
            draft.fill(pointer, value)
        case "insert":
            draft.insert(pointer, 0, value)
        case "replace":
            draft.replace(pointer, value)
        case "remove":
            draft.remove(pointer)


@given(documents, st.lists(steps, max_size=8))
def test_the_operations_turn_the_original_into_the_document(
    document: dict[str, Any], changes: list[Any]
) -> None:
    original = copy.deepcopy(document)
    draft = Draft(document)
    for step in changes:
        with draft.all_or_nothing():
            apply(draft, step)
    assert document == original
    assert jsonpatch.apply_patch(original, draft.operations) == draft.document


@given(documents, st.lists(steps, max_size=4), st.lists(steps, max_size=4))
def test_a_failed_block_is_undone_completely(
    document: dict[str, Any], kept: list[Any], undone: list[Any]
) -> None:
    draft = Draft(document)
    for step in kept:
        with draft.all_or_nothing():
            apply(draft, step)
    before, operations = copy.deepcopy(draft.document), list(draft.operations)
    with pytest.raises(ZeroDivisionError), draft.all_or_nothing():
        for step in undone:
            with draft.all_or_nothing():
                apply(draft, step)
        raise ZeroDivisionError
    assert draft.document == before
    assert draft.operations == operations


def test_values_passed_in_are_never_modified() -> None:
    shared = {"labels": {"a": "1"}}
    draft = Draft({})
    draft.set(ROOT / "metadata", shared)
    draft.set(ROOT / "metadata" / "labels" / "b", "2")
    assert shared == {"labels": {"a": "1"}}
    assert draft.operations[0]["value"] == {"labels": {"a": "1"}}
    assert draft.document == {"metadata": {"labels": {"a": "1", "b": "2"}}}


def test_missing_parents_are_created_in_the_same_operation() -> None:
    draft = Draft({})
    draft.set(ROOT / "metadata" / "labels" / "raywarden.io/tls", "managed")
    assert draft.operations == [
        {"op": "add", "path": "/metadata", "value": {"labels": {"raywarden.io/tls": "managed"}}}
    ]


def test_null_counts_as_missing() -> None:
    draft = Draft({"spec": {"volumes": None}})
    draft.insert(ROOT / "spec" / "volumes", 0, [{"name": "a"}])
    assert draft.operations == [{"op": "add", "path": "/spec/volumes", "value": [{"name": "a"}]}]


def test_setting_an_existing_value_records_nothing() -> None:
    draft = Draft({"a": {"b": 1}})
    draft.set(ROOT / "a" / "b", 1)
    draft.fill(ROOT / "a", {"b": 2})
    draft.insert(ROOT / "c", 0, [])
    assert draft.operations == []


def test_true_is_not_one() -> None:
    draft = Draft({"a": 1})
    draft.set(ROOT / "a", True)
    assert draft.operations == [{"op": "replace", "path": "/a", "value": True}]


def test_the_error_names_the_place_of_a_value_of_the_wrong_type() -> None:
    draft = Draft({"spec": {"containers": "none"}})
    with pytest.raises(
        UnreadableValueError, match="/spec/containers is a string, not an object or a list"
    ):
        draft.set(ROOT / "spec" / "containers" / 0 / "name", "a")
    assert draft.operations == []


def test_pointers_are_escaped_as_in_rfc_6901() -> None:
    assert str(ROOT / "metadata" / "labels" / "raywarden.io/tls" / "a~b" / 0) == (
        "/metadata/labels/raywarden.io~1tls/a~0b/0"
    )
    assert str(ROOT) == ""
