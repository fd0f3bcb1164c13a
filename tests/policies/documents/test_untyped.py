"""Reading values of unknown type, and untrusted text for messages."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.untyped import (
    as_dict,
    as_str,
    clipped,
    dict_items,
    larger,
    one_line,
    printable,
    str_items,
)


@pytest.mark.parametrize("value", [None, 7, True, "x", [{"a": 1}]])
def test_a_value_that_is_not_an_object_reads_as_an_empty_object(value: Any) -> None:
    assert as_dict(value) == {}


@pytest.mark.parametrize("value", [None, 7, True, ["x"], {"a": 1}])
def test_a_value_that_is_not_a_string_reads_as_the_empty_string(value: Any) -> None:
    assert as_str(value) == ""


def test_items_of_other_types_are_skipped_and_the_indexes_stay() -> None:
    mixed = [None, {"a": 1}, "x", 7, {}, "y"]
    assert list(dict_items(mixed)) == [(1, {"a": 1}), (4, {})]
    assert list(str_items(mixed)) == [(2, "x"), (5, "y")]
    values: tuple[Any, ...] = (None, "xy", {"a": {}}, 7)
    for value in values:
        assert list(dict_items(value)) == []
        assert list(str_items(value)) == []


def test_text_is_cut_only_above_the_limit() -> None:
    assert clipped("x" * 100) == "x" * 100
    assert clipped("x" * 101) == "x" * 100 + "..."
    assert clipped("abcd", 3) == "abc..."


def test_characters_that_are_not_printable_become_spaces() -> None:
    assert one_line("plain text, \u00e9") == "plain text, \u00e9"
    assert one_line("a\nb\x1b[31mc\u2028d") == "a b [31mc d"


@given(st.text(), st.integers(0, 20))
def test_printable_text_is_one_short_line_with_the_same_beginning(text: str, limit: int) -> None:
    shown = printable(text, limit)
    assert shown.isprintable()
    assert shown == clipped(one_line(text), limit)
    assert len(shown) <= limit + len("...")


def test_values_and_characters_are_counted_up_to_the_limit() -> None:
    # The object itself, the key, the list, and two values of which one has two characters.
    value = {"k": [1, "ab"]}
    assert not larger(value, 7)
    assert larger(value, 6)
    endless: list[Any] = []
    endless.append(endless)
    assert larger(endless, 1000)
