"""The seed: what a Secret must hold, and which generation a cluster uses."""

from datetime import UTC, datetime

import pytest

from certs.seed import Generation, Seed, SeedError

A, B = (bytes(range(number, number + 32)) for number in (65, 100))
OLD = Generation(datetime(2026, 1, 1, tzinfo=UTC), A)
NEW = Generation(datetime(2026, 6, 1, tzinfo=UTC), B)
BOTH = Seed((NEW, OLD))


def at(month: int) -> datetime:
    return datetime(2026, month, 15, tzinfo=UTC)


def test_entries_come_back_as_they_were_stored() -> None:
    entries = {"20260101T000000Z.retired.20260701T000000Z": A, "20260601T000000Z": B}
    assert Seed.parse(entries).entries == entries


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({}, "there is no generation in it"),
        ({"20260101T000000Z": b"short"}, "entry '20260101T000000Z' holds 5 bytes, not 32"),
        ({"20260101T000000Z": b""}, "holds 0 bytes"),
        ({"seed": A}, "entry 'seed' is not named by a time of activation"),
        ({"20261301T000000Z": A}, "not named by a time"),
        ({"2026111T8000Z": A}, "not named by a time"),
        ({"20260101T000000Z.old": A}, "not named by a time"),
        ({"20260101T000000Z.retired": A}, "not named by a time"),
        ({"20260101T000000Z.retired.": A}, "not named by a time"),
        ({"20260101T000000Z": A, "20260101T000000Z.retired.20260701T000000Z": B}, "the same name"),
        ({"20260101T000000Z.retired.20260701T000000Z": A}, "no generation is left that signs"),
        ({"20260101T000000Z": A, "20260601T000000Z": A}, "two generations have the same bytes"),
        ({"20260101T000000Z": bytes(32)}, "or one has the same byte throughout"),
        ({"99991231T235959Z": A}, "not named by a time"),
        ({"19991231T235959Z": A}, "not named by a time"),
        ({"x": A, "20260101T000000Z": b"y"}, "holds 1 bytes, not 32; entry 'x' is not named"),
    ],
)
def test_a_malformed_seed_says_everything_that_is_wrong_and_no_byte_of_it(
    entries: dict[str, bytes], problem: str
) -> None:
    with pytest.raises(SeedError) as raised:
        Seed.parse(entries)
    assert problem in str(raised.value)
    assert "ABC" not in str(raised.value)


@pytest.mark.parametrize(
    ("created", "expected"),
    [(at(3), OLD), (NEW.activated, NEW), (at(7), NEW), (datetime(2025, 1, 1, tzinfo=UTC), OLD)],
)
def test_a_cluster_keeps_the_generation_it_was_born_under(
    created: datetime, expected: Generation
) -> None:
    assert BOTH.for_cluster(created) is expected


def test_a_new_generation_touches_neither_running_clusters_nor_our_own_ports() -> None:
    before = Seed((OLD,))
    after = before.with_generation(NEW)
    assert after.for_cluster(at(3)) == before.for_cluster(at(3))
    assert after.serving == before.serving


def test_a_retired_generation_signs_nothing_and_stays_known() -> None:
    seed = BOTH.retire(OLD.name, at(8))
    assert seed.for_cluster(at(3)) is NEW and seed.serving is NEW
    assert [generation.secret for generation in seed.generations] == [OLD.secret, NEW.secret]
    assert seed.without(OLD.name).generations == (NEW,)


def test_the_last_generation_that_signs_cannot_go() -> None:
    with pytest.raises(SeedError, match="no generation is left that signs"):
        BOTH.retire(OLD.name, at(8)).retire(NEW.name, at(8))
    with pytest.raises(SeedError, match="no generation is left"):
        Seed((OLD,)).without(OLD.name)
    with pytest.raises(KeyError):
        BOTH.retire("20300101T000000Z", at(8))


def test_the_secret_shows_nowhere() -> None:
    for shown in (repr(OLD), repr(BOTH), str(BOTH)):
        assert "ABCD" not in shown and "secret" not in shown
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        Generation(OLD.activated, b"abc")
