"""`make check` notices generated documentation that is stale."""

import pytest

from tests.support.paths import REPOSITORY
from tests.tools import bench_figures
from tests.tools.docs import files, stale


def test_a_file_that_differs_is_shown_as_a_diff() -> None:
    readme = REPOSITORY / "README.md"
    changed = readme.read_text().replace("# RayWarden\n", "# Renamed\n", 1)
    lines = stale({readme: changed})
    assert "-# RayWarden" in lines and "+# Renamed" in lines


def test_a_fresh_file_is_not_shown() -> None:
    readme = REPOSITORY / "README.md"
    assert stale({readme: readme.read_text()}) == []


def test_figures_in_documents_are_those_of_the_last_published_run() -> None:
    guide = REPOSITORY / "deploy" / "OPERATE.md"
    text = guide.read_text()
    assert "<!-- figure: memory -->" in text
    typed = text.replace("MiB with", "GiB with", 1)
    assert typed != text
    assert files()[guide] == text
    assert stale({guide: typed})


def test_a_table_that_was_never_published_is_an_error() -> None:
    with pytest.raises(KeyError, match="make bench-publish"):
        bench_figures.tables(["no such table"])
