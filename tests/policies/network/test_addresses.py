"""How many public addresses lists of networks contain."""

import pytest

from policies.network.addresses import PublicAddresses, has_few_addresses

OFFICE = "203.0.113.0/24"


@pytest.mark.parametrize(
    ("ranges", "few"),
    [
        ([], False),
        ([OFFICE], True),
        (["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fd00::/8"], True),
        (["8.0.0.0/15"], True),
        (["8.0.0.0/15", "9.0.0.0/32"], False),
        (["8.0.0.0/16", "8.1.0.0/16", "8.0.0.0/15"], True),
        (["8.0.0.0/8"], False),
        (["2001:db8::/32", "2600::/40"], True),
        (["2600::/40", "2601::/128"], False),
        (["2600::/40", "8.0.0.0/15"], True),
        (["2002::/16"], False),
        (["2001::/32"], False),
        (["::/0"], False),
        (["0.0.0.0/0"], False),
        (["::ffff:0:0/96"], False),
        (["::ffff:203.0.113.0/120"], True),
        (["64:ff9b::/96"], False),
        (["64:ff9b::203.0.113.0/120"], True),
        (["64:ff9b:1::/120"], True),
        (["64:ff9b:1:2::/64"], False),
        (["64:ff9b::/47"], False),
        (["64:ff9b:2::/48"], True),
        (["no range"], False),
        ([OFFICE, ""], False),
        ([OFFICE] * 1000, True),
        ([OFFICE] * 1001, False),
    ],
)
def test_only_public_addresses_are_counted_and_each_once(ranges: list[str], few: bool) -> None:
    assert has_few_addresses(ranges) is few


@pytest.mark.parametrize(
    ("blocks", "few"),
    [
        ([("8.0.0.0/14", ["8.2.0.0/15"])], True),
        ([("8.0.0.0/14", ["8.2.0.0/15", "8.2.0.0/15"])], True),
        ([("8.0.0.0/14", ["8.2.0.0/16", "8.2.0.0/16"])], False),
        ([("8.0.0.0/14", ["10.0.0.0/8", "9.0.0.0/8"])], False),
        ([("8.0.0.0/14", ["::/0"])], False),
        ([("8.0.0.0/14", ["8.2.0.0/15"]), ("8.2.0.0/15", [])], False),
        ([("8.0.0.0/8", ["8.0.0.0/32"] * 1000)], False),
        ([("0.0.0.0/0", ["0.0.0.0/1", "128.0.0.0/1"])], True),
    ],
)
def test_exceptions_are_subtracted_only_from_the_range_that_contains_them(
    blocks: list[tuple[str, list[str]]], few: bool
) -> None:
    public = PublicAddresses.of(blocks)
    assert (public is not None and public.are_few) is few


def test_the_parts_of_several_lists_add_up_without_their_overlap() -> None:
    def public(*ranges: str) -> PublicAddresses:
        found = PublicAddresses.of((block, ()) for block in ranges)
        assert found is not None
        return found

    assert public("10.0.0.0/8").spans == ()
    assert len(public("8.0.0.0/16", "8.1.0.0/16").spans) == 1
    assert PublicAddresses.union([public("8.0.0.0/15"), public("8.1.0.0/16")]).are_few
    assert not PublicAddresses.union([public("8.0.0.0/15"), public("9.0.0.0/32")]).are_few
