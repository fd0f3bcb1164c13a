"""JSON nested too deep for parsers: objects that the API server stores must remain readable."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from webhook import json_text

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
)


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_values_that_are_too_deep_become_null_and_the_rest_stays(begin: bytes, end: bytes) -> None:
    deep = begin * 9000 + b'"]}[{"' + end * 9000
    document = json_text.loads(b'{"before": [1], "deep": %b, "after": "}\\"]"}' % deep)
    assert (document["before"], document["after"]) == ([1], '}"]')
    level, depth = document["deep"], 1
    while level is not None:
        level = level[0] if isinstance(level, list) else level["a"]
        depth += 1
    assert depth == 500


@given(VALUES)
def test_values_that_are_not_too_deep_stay_as_they_are(value: object) -> None:
    deep = b"[" * 2000 + b"]" * 2000
    assert json_text.loads(json.dumps(value).encode()) == value
    assert json_text.loads(b"[%b,%b]" % (deep, json.dumps(value).encode()))[1] == value


@pytest.mark.parametrize("text", [b"", b"[", b"[" * 5000, b"[" * 5000 + b"}" * 5000])
def test_text_that_is_not_json_still_raises(text: bytes) -> None:
    with pytest.raises(ValueError):
        json_text.loads(text)


@pytest.mark.parametrize("begin", [b'"', b'{"a":"', b'"\\'])
def test_an_unterminated_string_takes_linear_time(begin: bytes) -> None:
    hostile = b"[" * 1100 + begin + b'\\"' * 500_000
    started = time.process_time()
    with pytest.raises(ValueError):
        json_text.loads(hostile)
    # A single pass takes hundredths of a second; a pass for every quote would take hours.
    assert time.process_time() - started < 5


@pytest.mark.parametrize(
    "after", [b"]" * 8_000_000, b'""' * 4_000_000, b"]" * 600 + b"[]" * 1_000_000]
)
def test_text_after_the_document_costs_no_time_or_memory(after: bytes) -> None:
    started = time.process_time()
    with pytest.raises(ValueError):
        json_text.loads(b"[" * 1100 + after)
    assert time.process_time() - started < 5


MANY = 2**20


@pytest.mark.parametrize(
    "text",
    [
        b"[" * MANY,
        b'{"a":' * (MANY // 2),
        b"[" + b"[]," * (MANY // 2) + b"1]",
        b'{"a":"' + b"," * MANY + b'"}' + b"1," * MANY,
        b"1,2" + b",3" * MANY,
    ],
)
def test_text_with_more_parts_than_can_be_stored_is_crowded(text: bytes) -> None:
    assert json_text.has_too_many_parts(text)
    assert json_text.has_too_many_parts(bytearray(text))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[" + b",".join([b"1"] * (MANY - 1)) + b"]",
        b'{"a":"' + b",[{:" * MANY + b'"}',
        b'["' + b'\\",' * MANY + b'"]',
        b'["' + b"," * MANY,
        b'{"f:a":{},"b":["c",1]},' * (MANY // 9),
    ],
)
def test_long_text_with_few_parts_is_not_crowded(text: bytes) -> None:
    assert not json_text.has_too_many_parts(text)


@settings(max_examples=25)
@given(VALUES)
def test_exactly_the_parts_outside_of_strings_are_counted(value: object) -> None:
    written = json.dumps([value]).encode()
    text, missing = written + b'"' + b"," * MANY + b'"', MANY - parts(written)
    assert json_text.has_too_many_parts(text + b"," * missing)
    assert not json_text.has_too_many_parts(text + b"," * (missing - 1))


def parts(text: bytes) -> int:
    """The number of characters that begin a container or separate values, outside of strings."""
    count, inside, escaped = 0, False, False
    for character in text.decode():
        if inside:
            inside, escaped = escaped or character != '"', character == "\\" and not escaped
        else:
            inside, count = character == '"', count + (character in "{[,:")
    return count


def test_an_object_as_deep_as_the_api_server_stores_is_read() -> None:
    deep = b'{"f:a":' * 10_000 + b"{}" + b"}" * 10_000
    assert json_text.loads(b'{"items":[{"a":%b},{"b":2}]}' % deep)["items"][1] == {"b": 2}
