"""The seed: the entries of its Secret, and the generation that a cluster uses."""

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
        ({}, "the seed has no generations"),
        ({"20260101T000000Z": b"short"}, "entry '20260101T000000Z' holds 5 bytes, not 32"),
        ({"20260101T000000Z": b""}, "holds 0 bytes"),
        ({"seed": A}, "the name of entry 'seed' is not an activation time"),
        ({"20261301T000000Z": A}, "is not an activation time"),
        ({"2026111T8000Z": A}, "is not an activation time"),
        ({"20260101T000000Z.old": A}, "is not an activation time"),
        ({"20260101T000000Z.retired": A}, "is not an activation time"),
        ({"20260101T000000Z.retired.": A}, "is not an activation time"),
        (
            {"20260101T000000Z": A, "20260101T000000Z.retired.20260701T000000Z": B},
            "the same activation time",
        ),
        ({"20260101T000000Z.retired.20260701T000000Z": A}, "no signing generation would be left"),
        ({"20260101T000000Z": A, "20260601T000000Z": A}, "two generations hold the same bytes"),
        ({"20260101T000000Z": bytes(32)}, "or one generation repeats a single byte"),
        ({"99991231T235959Z": A}, "is not an activation time"),
        ({"19991231T235959Z": A}, "is not an activation time"),
        ({"x": A, "20260101T000000Z": b"y"}, "holds 1 bytes, not 32; the name of entry 'x' is not"),
    ],
)
def test_the_error_lists_every_problem_and_no_byte_of_the_seed(
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
def test_a_cluster_uses_the_generation_that_was_active_at_its_creation(
    created: datetime, expected: Generation
) -> None:
    assert BOTH.for_cluster(created) is expected


def test_a_new_generation_changes_no_running_cluster_and_no_serving_certificate() -> None:
    before = Seed((OLD,))
    after = before.with_generation(NEW)
    assert after.for_cluster(at(3)) == before.for_cluster(at(3))
    assert after.serving == before.serving


def test_a_retired_generation_no_longer_signs_but_stays_in_the_seed() -> None:
    seed = BOTH.retire(OLD.name, at(8))
    assert seed.for_cluster(at(3)) is NEW and seed.serving is NEW
    assert [generation.secret for generation in seed.generations] == [OLD.secret, NEW.secret]
    assert seed.without(OLD.name).generations == (NEW,)


def test_the_last_signing_generation_cannot_be_retired_or_removed() -> None:
    with pytest.raises(SeedError, match="no signing generation would be left"):
        BOTH.retire(OLD.name, at(8)).retire(NEW.name, at(8))
    with pytest.raises(SeedError, match="no signing generation would be left"):
        Seed((OLD,)).without(OLD.name)
    with pytest.raises(KeyError):
        BOTH.retire("20300101T000000Z", at(8))


def test_repr_and_str_do_not_show_the_secret() -> None:
    for shown in (repr(OLD), repr(BOTH), str(BOTH)):
        assert "ABCD" not in shown and "secret" not in shown
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        Generation(OLD.activated, b"abc")
