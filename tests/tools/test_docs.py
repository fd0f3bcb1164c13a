"""`make check` notices generated documentation that is stale."""

from tests.support.paths import REPOSITORY
from tests.tools.docs import stale


def test_a_file_that_differs_is_shown_as_a_diff() -> None:
    readme = REPOSITORY / "README.md"
    changed = readme.read_text().replace("# RayWarden\n", "# Renamed\n", 1)
    lines = stale({readme: changed})
    assert "-# RayWarden" in lines and "+# Renamed" in lines


def test_a_fresh_file_is_not_shown() -> None:
    readme = REPOSITORY / "README.md"
    assert stale({readme: readme.read_text()}) == []
