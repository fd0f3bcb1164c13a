"""JSON deeper than any parser goes: what the API server stores must be read, whoever wrote it."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webhook import json_text

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
)


@pytest.mark.parametrize(("begin", "end"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_what_is_too_deep_is_null_and_the_rest_is_there(begin: bytes, end: bytes) -> None:
    deep = begin * 9000 + b'"]}[{"' + end * 9000
    found = json_text.loads(b'{"before": [1], "deep": %b, "after": "}\\"]"}' % deep)
    assert (found["before"], found["after"]) == ([1], '}"]')
    level, depth = found["deep"], 1
    while level is not None:
        level = level[0] if isinstance(level, list) else level["a"]
        depth += 1
    assert depth == 500


@given(VALUES)
def test_what_is_not_too_deep_is_what_it_is(value: object) -> None:
    deep = b"[" * 2000 + b"]" * 2000
    assert json_text.loads(json.dumps(value).encode()) == value
    assert json_text.loads(b"[%b,%b]" % (deep, json.dumps(value).encode()))[1] == value


@pytest.mark.parametrize("text", [b"", b"[", b"[" * 5000, b"[" * 5000 + b"}" * 5000])
def test_what_is_no_json_is_still_none(text: bytes) -> None:
    with pytest.raises(ValueError):
        json_text.loads(text)


@pytest.mark.parametrize("begin", [b'"', b'{"a":"', b'"\\'])
def test_a_string_without_end_is_looked_at_once(begin: bytes) -> None:
    hostile = b"[" * 1100 + begin + b'\\"' * 500_000
    started = time.process_time()
    with pytest.raises(ValueError):
        json_text.loads(hostile)
    # Once is hundredths of a second; once for every quote would be hours.
    assert time.process_time() - started < 5


def test_as_deep_as_the_api_server_stores_and_lists_it() -> None:
    deep = b'{"f:a":' * 10_000 + b"{}" + b"}" * 10_000
    assert json_text.loads(b'{"items":[{"a":%b},{"b":2}]}' % deep)["items"][1] == {"b": 2}
