"""Sets of ports behave like sets of numbers."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.network.ports import ALL_PORTS, PolicyPort, Ports, common, merged, missing_from, shown

spans = st.builds(
    lambda start, size: range(start, start + size), st.integers(1, 40), st.integers(0, 9)
)
sets = st.lists(spans, max_size=6).map(merged)


def numbers(ports: Ports) -> set[int]:
    return {number for span in ports for number in span}


@given(st.lists(spans, max_size=8))
def test_merged_ranges_have_the_same_numbers_and_neither_overlap_nor_touch(
    ranges: list[range],
) -> None:
    ports = merged(ranges)
    assert numbers(ports) == {number for span in ranges for number in span}
    for span, following in pairwise(ports):
        assert span.stop < following.start


@given(sets, sets)
def test_what_is_missing_and_what_is_common(ports: Ports, others: Ports) -> None:
    assert numbers(common(ports, others)) == numbers(ports) & numbers(others)
    assert numbers(missing_from(ports, others)) == numbers(others) - numbers(ports)


@pytest.mark.parametrize(
    ("entry", "ports"),
    [
        ({}, ALL_PORTS),
        ({"protocol": "TCP"}, ALL_PORTS),
        ({"port": 8265}, (range(8265, 8266),)),
        ({"port": 10002, "endPort": 19999}, (range(10002, 20000),)),
        ({"port": "dashboard"}, (range(8265, 8266),)),
        ({"port": "unknown"}, ()),
        ({"port": [], "endPort": {}}, ALL_PORTS),
        ({"port": 20, "endPort": 10}, ()),
    ],
)
def test_an_entry_of_a_rule(entry: dict[str, Any], ports: Ports) -> None:
    assert PolicyPort.of(entry).resolved({"dashboard": (8265,)}) == ports


def test_ports_are_shown_as_authors_write_them() -> None:
    assert shown(merged([range(8265, 8266), range(10002, 20000)])) == "8265, 10002-19999"
    assert shown(ALL_PORTS) == "all ports"
