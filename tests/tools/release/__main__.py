"""`make release`: builds the files of a release from the current commit into a folder.

`--tag` is for the release itself: it holds the commit to what a tag promises.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from tests.support.paths import REPOSITORY
from tests.tools.release import ReleaseError
from tests.tools.release.build import ReleaseBuild
from tests.tools.release.changelog import has_unreleased
from tests.tools.release.source import commit_time, export, has_changes
from tests.tools.release.versions import version_of

_COMMIT = "HEAD"


def release(folder: Path, repository: str, tag: str) -> None:
    """Build everything that can be built on this machine. Raises ReleaseError."""
    if folder.exists() and any(folder.iterdir()):
        raise ReleaseError(f"{folder} is not empty: move its files away or name another folder")
    if has_changes():
        print("NOTE: changes that are not committed are not in the release.")
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name:
        source = Path(name)
        export(_COMMIT, source)
        _require_tag(source, tag)
        build = ReleaseBuild(source, folder.resolve(), commit_time(_COMMIT), print)
        build.distributions()
        build.chart()
        build.texts()
        build.images(repository)
        print(build.checksums().read_text(), end="")


def _require_tag(source: Path, tag: str) -> None:
    """Raise ReleaseError if a tag and the commit do not belong together."""
    unreleased = has_unreleased((source / "CHANGELOG.md").read_text())
    if tag and tag != f"v{version_of(source)}":
        raise ReleaseError(f"the tag is {tag}, but the version is {version_of(source)}")
    if tag and unreleased:
        raise ReleaseError("CHANGELOG.md has changes under Unreleased: move them to the version")
    if unreleased:
        print("NOTE: the notes do not contain the changes under Unreleased in CHANGELOG.md.")


def main(
    folder: Annotated[Path, typer.Argument(help="Where the files go.")] = REPOSITORY / "dist",
    repository: Annotated[
        str, typer.Option(help="Where the images will be, such as images.example/raywarden.")
    ] = "",
    tag: Annotated[str, typer.Option(help="The tag of the commit, such as v0.1.0.")] = "",
) -> None:
    """Build the files of a release from the current commit."""
    try:
        release(folder, repository, tag)
    except ReleaseError as error:
        raise SystemExit(f"release: {error}") from None


if __name__ == "__main__":
    typer.run(main)
