"""The draft: the operations it records are the changes it made."""

import copy
from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.draft import Draft, UnreadableValueError
from policies.documents.patch import compact, operations_of
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
    holder: Pointer = pointer.parent
    # A name that is a number is refused like any other place that cannot exist.
    name: Any = pointer[-1]
    match verb:
        case "set":
            draft.set(holder, name, value)
        case "fill":
            draft.fill(holder, name, value)
        case "insert":
            draft.insert(holder, name, 0, value)
        case "replace":
            draft.replace(pointer, value)
        case "remove":
            draft.remove(pointer)


def attempt(draft: Draft, step: tuple[str, Pointer, Any]) -> None:
    changes = len(draft.changes)
    try:
        apply(draft, step)
    except UnreadableValueError as problem:
        draft.leave(problem, changes)


@given(documents, st.lists(steps, max_size=8))
def test_the_operations_turn_the_original_into_the_document(
    document: dict[str, Any], changes: list[Any]
) -> None:
    original = copy.deepcopy(document)
    draft = Draft(document)
    for step in changes:
        attempt(draft, step)
    assert document == original
    for operations in (operations_of(draft.changes), compact(draft.changes, draft.document)):
        assert jsonpatch.apply_patch(original, operations) == draft.document


@given(documents, st.lists(steps, max_size=4), st.lists(steps, max_size=4))
def test_changes_are_undone_completely(
    document: dict[str, Any], kept: list[Any], undone: list[Any]
) -> None:
    draft = Draft(document)
    for step in kept:
        attempt(draft, step)
    before, changes = copy.deepcopy(draft.document), list(draft.changes)
    for step in undone:
        attempt(draft, step)
    draft.roll_back(len(changes))
    assert draft.document == before
    assert draft.changes == changes
    # What the draft remembers of places is undone as well.
    for step in undone:
        attempt(draft, step)
    assert jsonpatch.apply_patch(document, operations_of(draft.changes)) == draft.document


def test_values_passed_in_are_never_modified() -> None:
    shared = {"labels": {"a": "1"}}
    draft = Draft({})
    draft.set(ROOT, "metadata", shared)
    draft.set(ROOT / "metadata" / "labels", "b", "2")
    assert shared == {"labels": {"a": "1"}}
    assert operations_of(draft.changes)[0]["value"] == {"labels": {"a": "1"}}
    assert draft.document == {"metadata": {"labels": {"a": "1", "b": "2"}}}


def test_missing_parents_are_created_in_the_same_operation() -> None:
    draft = Draft({})
    draft.set(ROOT / "metadata" / "labels", "raywarden.io/tls", "managed")
    assert operations_of(draft.changes) == [
        {"op": "add", "path": "/metadata", "value": {"labels": {"raywarden.io/tls": "managed"}}}
    ]


def test_null_counts_as_missing() -> None:
    draft = Draft({"spec": {"volumes": None}})
    draft.insert(ROOT / "spec", "volumes", 0, [{"name": "a"}])
    assert operations_of(draft.changes) == [
        {"op": "add", "path": "/spec/volumes", "value": [{"name": "a"}]}
    ]


def test_setting_an_existing_value_records_nothing() -> None:
    draft = Draft({"a": {"b": 1}})
    draft.set(ROOT / "a", "b", 1)
    draft.fill(ROOT, "a", {"b": 2})
    draft.insert(ROOT, "c", 0, [])
    assert operations_of(draft.changes) == []


def test_true_is_not_one() -> None:
    draft = Draft({"a": 1})
    draft.set(ROOT, "a", True)
    assert operations_of(draft.changes) == [{"op": "replace", "path": "/a", "value": True}]


def test_the_error_names_the_place_of_a_value_of_the_wrong_type() -> None:
    draft = Draft({"spec": {"containers": "none"}})
    with pytest.raises(
        UnreadableValueError, match="/spec/containers is a string, not an object or a list"
    ):
        draft.set(ROOT / "spec" / "containers" / 0, "name", "a")
    assert operations_of(draft.changes) == []


def test_pointers_are_escaped_as_in_rfc_6901() -> None:
    assert str(ROOT / "metadata" / "labels" / "raywarden.io/tls" / "a~b" / 0) == (
        "/metadata/labels/raywarden.io~1tls/a~0b/0"
    )
    assert str(ROOT) == ""


def test_places_move_with_the_elements_of_a_list() -> None:
    draft = Draft({"containers": [{"name": "a"}]})
    first = ROOT / "containers" / 0
    draft.set(first, "image", "1")
    draft.insert(ROOT, "containers", 0, [{"name": "b"}])
    draft.set(first, "image", "2")
    assert draft.document == {
        "containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}]
    }


class TestCompactPatch:
    """One replacement of the spec takes the place of many operations below it."""

    @staticmethod
    def changed(number: int) -> tuple[dict[str, Any], Draft]:
        document = {"metadata": {"labels": {}}, "spec": {"groups": [{} for _ in range(number)]}}
        draft = Draft(document)
        draft.set(ROOT / "metadata" / "labels", "a", "b")
        for index in range(number):
            draft.insert(ROOT / "spec" / "groups" / index, "env", 0, [{"name": "A"}])
        return document, draft

    def test_few_operations_stay_as_they_are(self) -> None:
        _, draft = self.changed(9)
        assert compact(draft.changes, draft.document) == operations_of(draft.changes)

    def test_many_operations_become_one(self) -> None:
        document, draft = self.changed(10)
        operations = compact(draft.changes, draft.document)
        assert [operation["path"] for operation in operations] == ["/metadata/labels/a", "/spec"]
        assert jsonpatch.apply_patch(document, operations) == draft.document

    def test_many_operations_outside_the_spec_stay_as_they_are(self) -> None:
        draft = Draft({"metadata": {"labels": {}}, "spec": {}})
        for index in range(40):
            draft.set(ROOT / "metadata" / "labels", str(index), "a")
        assert len(compact(draft.changes, draft.document)) == 40
