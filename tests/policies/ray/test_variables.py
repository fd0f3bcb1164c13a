"""The variables of a container read in one pass are those that a slow reading finds."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from policies.ray.variables import Variables

_names = (
    st.sampled_from(["A", "B", "RAY_USE_TLS", ""]) | st.none() | st.integers() | st.lists(st.none())
)
_values = (
    st.sampled_from(["", "1"]) | st.none() | st.booleans() | st.dictionaries(st.text(), st.none())
)
_entries = st.fixed_dictionaries(
    {}, optional={"name": _names, "value": _values, "valueFrom": _values}
)
_lists = st.lists(_entries | st.none() | st.text() | st.lists(st.text()), max_size=6)


def slowly(env: Any) -> dict[str, list[tuple[int, Any]]]:
    found: dict[str, list[tuple[int, Any]]] = {}
    for index, entry in enumerate(env if isinstance(env, list) else []):
        if isinstance(entry, dict):
            name = entry.get("name")
            found.setdefault(name if isinstance(name, str) else "", []).append((index, entry))
    return found


@given(_lists | st.none() | st.text())
def test_every_list_is_read_like_a_slow_reading(env: Any) -> None:
    variables, expected = Variables(env), slowly(env)
    entries = [item for items in expected.values() for item in items]
    assert list(variables) == list(expected)
    assert {name: list(variables.of(name)) for name in expected} == expected
    assert variables.names == {
        entry["name"] for _, entry in entries if isinstance(entry.get("name"), str)
    }
    assert list(variables.references) == sorted(
        (item for item in entries if item[1].get("valueFrom")), key=lambda item: item[0]
    )


def test_a_name_that_is_not_set_has_no_entries() -> None:
    assert Variables([{"name": "A", "value": "1"}]).of("B") == ()
    assert Variables([{"name": "A"}, {"name": "A"}]).of("B") == ()


def test_names_are_found_by_their_beginning() -> None:
    variables = Variables([{"name": "RAY_DEBUG"}, {"name": "MY_RAY_DEBUG"}, {"name": "PATH"}])
    assert variables.like("RAY_") == {"RAY_DEBUG"}
    assert variables.like("NONE_") == set()


def test_entries_in_a_row_are_exactly_these_and_no_others_of_their_names() -> None:
    first, second = {"name": "A", "value": "1"}, {"name": "B", "value": "2"}
    other = {"name": "C", "value": "3"}
    assert Variables([other, first, second]).has_in_a_row([first, second])
    for env in (
        [second, first],
        [first, other, second],
        [first, {**second, "value": "3"}],
        [first, second, {**second, "value": "3"}],
        [first],
        [],
    ):
        assert not Variables(env).has_in_a_row([first, second])
