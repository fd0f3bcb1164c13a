"""The table of Ray's vulnerabilities is reviewed before each release."""

import re
from datetime import date

import pytest

from policies.ray.version import SUGGESTED, dotted, ray_version
from policies.rules.pinned_images import PinnedImages
from policies.rules.ray_version_floor import FIXED, LAST_REVIEW, RayVersionFloor
from tests.support.paths import REPOSITORY

# `## 0.2.0 (2026-11-21)`
_HEADING = re.compile(r"^## (\d+\.\d+\.\d+)(?: \((\d{4}-\d{2}-\d{2})\))?$", re.MULTILINE)
# 0.1.0 was never released, so it has no day.
_NEVER_RELEASED = "0.1.0"


def newest_release(changelog: str) -> date | None:
    """The day of the newest release; None if there is none. Not today, so that no test expires.

    Raises ValueError if a release has no day.
    """
    days = []
    for version, day in _HEADING.findall(changelog):
        if version != _NEVER_RELEASED:
            days.append(date.fromisoformat(day))
    return max(days, default=None)


def test_the_last_review_is_not_older_than_the_newest_release() -> None:
    released = newest_release((REPOSITORY / "CHANGELOG.md").read_text())
    assert released is None or released <= LAST_REVIEW, "compare the table with its sources again"


def test_the_reference_names_the_day_of_the_review() -> None:
    assert LAST_REVIEW.isoformat() in (RayVersionFloor.__doc__ or "")


def test_releases_are_found_in_the_changelog() -> None:
    text = "# Changelog\n\n## Unreleased\n\n## 0.10.0 (2027-03-01)\n\n## 0.2.0 (2026-12-01)\n"
    assert newest_release(f"{text}\n## 0.1.0\n") == date(2027, 3, 1)
    assert newest_release("## Unreleased\n\n## 0.1.0\n") is None
    with pytest.raises(ValueError, match="Invalid isoformat"):
        newest_release("## 0.2.0\n")


def test_the_default_warns_below_the_newest_fix() -> None:
    assert RayVersionFloor().warn_below == dotted(max(FIXED.values()))


def test_the_version_that_remedies_name_has_no_known_vulnerability() -> None:
    suggested = ray_version(SUGGESTED)
    assert suggested is not None
    assert suggested >= max(FIXED.values())
    assert SUGGESTED in (PinnedImages.__doc__ or "")
