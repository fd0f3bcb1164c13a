"""Untrusted YAML."""

import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all

# PyYAML writes y, n and 0E0 without quotes; kubectl's YAML library reads them as booleans and a
# number.
_texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])).filter(
    lambda text: text.lower() not in "yn" and text[:1] not in "+-.0123456789"
)
_keys = st.text(st.characters(codec="ascii", min_codepoint=97)).filter(
    lambda text: text not in "yn"
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | _texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4),
)


@given(_json)
def test_documents_written_by_pyyaml_are_read_back(document: Any) -> None:
    assert list(load_all(yaml.safe_dump(document, allow_unicode=True))) == [document]


@given(st.text())
def test_any_text_is_read_or_rejected(content: str) -> None:
    try:
        list(load_all(content))
    except UntrustedYamlError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a: yes", True),
        ("a: Off", False),
        ("a: y", True),
        ("a: 0777", 511),
        ("a: 0o777", 511),
        ("a: 0x1F", 31),
        ("a: 1_000", 1000),
        ("a: -3", -3),
        ("a: 1.5e3", 1500),
        ("a: .5", 0.5),
        ("a: 2026-11-20", "2026-11-20"),
        ("a: 12:30", "12:30"),
        ("a: 1.2.3", "1.2.3"),
        ("a: .", "."),
        ("a: -", [None]),
        ("a: ~", None),
        ("a:", None),
        ("a: '1'", "1"),
        ('a: "yes"', "yes"),
        ("a: !!str 1", "1"),
        ("a: |\n  text\n", "text\n"),
        ("a: 1" + "0" * 30, 10**30),
    ],
)
def test_scalars_have_the_values_that_kubectl_reads(content: str, expected: Any) -> None:
    if content == "a: -":
        content = "a:\n-"
    (document,) = load_all(content)
    assert document["a"] == expected
    assert type(document["a"]) is type(expected)


def test_keys_are_strings() -> None:
    assert list(load_all("{1: a, true: b, null: c, 1.5: d}")) == [
        {"1": "a", "true": "b", "null": "c", "1.5": "d"}
    ]


def test_aliases_and_merge_keys() -> None:
    content = (
        "base: &b {x: 1, w: 2}\nown: {<<: *b, w: 3}\nboth: {<<: [*b, {z: 4}]}\n"
        "list: [*b, &s text, *s]\n"
    )
    assert list(load_all(content)) == [
        {
            "base": {"x": 1, "w": 2},
            "own": {"x": 1, "w": 3},
            "both": {"x": 1, "w": 2, "z": 4},
            "list": [{"x": 1, "w": 2}, "text", "text"],
        }
    ]


def test_streams() -> None:
    assert list(load_all("---\na: 1\n---\n---\nb: 2\n...\n")) == [{"a": 1}, None, {"b": 2}]
    assert list(load_all("")) == []
    assert list(load_all("# only a comment\n")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[" * 200_000, "nested deeper than 100 levels"),
        ("{a: " * 200_000, "nested deeper than 100 levels"),
        ("- " * 200_000, "nested deeper than 100 levels"),
        ("a: 1\na: 2", "line 2, column 1: duplicate key a"),
        ("? [a]\n: 1", "a key is a list or a mapping"),
        ("a: *nothing", "the alias nothing has no anchor before it"),
        ("a: {<<: 5}", "a merge key"),
        ("a: [1", "line 2, column 1: did not find expected"),
        ("\tb: 1", "line 1"),
        ("a: {{ .Values.name }}", "a key is a list or a mapping"),
    ],
)
def test_unneeded_yaml_is_rejected_with_its_place(content: str, message: str) -> None:
    with pytest.raises(UntrustedYamlError) as caught:
        list(load_all(content))
    assert message in str(caught.value)


def test_a_billion_laughs_bomb_is_counted_and_not_expanded() -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    started = time.monotonic()
    with pytest.raises(UntrustedYamlError, match="more than 1000000 values"):
        list(load_all("\n".join(lines)))
    assert time.monotonic() - started < 10
