"""Builds the files of a release from a folder with the files of a commit."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.tools.release import ReleaseError, digests, images
from tests.tools.release.archives import tar_gz, write_checksums
from tests.tools.release.changelog import notes
from tests.tools.release.image_packages import content, is_wanted
from tests.tools.release.lock import locked_packages
from tests.tools.release.oci_archive import digest_of, platforms
from tests.tools.release.sbom import image_sbom, lock_sbom
from tests.tools.release.versions import require_one_version

_CHART = "deploy/charts/raywarden"


class ReleaseBuild:
    """One release: what it is built from, and the folder that its files are written to."""

    def __init__(self, source: Path, folder: Path, epoch: int, say: Callable[[str], None]) -> None:
        self.source, self.folder, self.epoch, self._say = source, folder, epoch, say
        self.version = require_one_version(source)
        self._locked = locked_packages((source / "requirements.lock").read_text())

    def distributions(self) -> None:
        """The wheel and the source archive."""
        ended = subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist",
             "-d", str(self.folder.resolve())],
            cwd=self.source, env={**os.environ, "SOURCE_DATE_EPOCH": str(self.epoch)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if ended.returncode != 0:
            raise ReleaseError(f"hatchling failed: {ended.stderr.strip()}")

    def chart(self) -> None:
        """The Helm chart, as `helm package` archives it, but with the same bytes each time."""
        folder = self.source / _CHART
        if folder.exists():
            tar_gz(folder, self.folder / f"raywarden-{self.version}.tgz", self.epoch)
        else:
            self._say(f"NOT BUILT: the Helm chart. There is no {_CHART}.")

    def texts(self) -> None:
        """The notes, and the bill of materials of the lock file."""
        changelog = (self.source / "CHANGELOG.md").read_text()
        self._write("notes.md", notes(changelog, self.version))
        self._write("sbom.cdx.json", lock_sbom(self.version, self._locked, self.epoch))

    def images(self, repository: str) -> None:
        """The images with their bills of materials and, for a repository, their digests."""
        problem = images.builder()
        if problem:
            self._say(f"NOT BUILT: the images, their SBOMs and digests. {problem.capitalize()}.")
            return
        base = _base_image((self.source / "Dockerfile").read_text())
        digest = images.base_digest(base)
        self._say(f"The images are built on {base}@{digest}.")
        archives = list(
            images.build(self.source, self.folder, self.version, base, digest, self.epoch)
        )
        self._image_sboms(archives)
        server, enroll = (digest_of(archive) for archive in archives)
        if repository:
            pins = (self.version, repository, server, enroll)
            self._write("kustomization.yaml", digests.component(*pins))
            self._write("values.yaml", digests.values(*pins))
        else:
            self._say("NOT WRITTEN: the files with digests. Name the REPOSITORY of the images.")

    def checksums(self) -> Path:
        """The checksums of everything that was built before."""
        return write_checksums(self.folder)

    def _image_sboms(self, archives: list[Path]) -> None:
        interpreter = ""
        for name, archive in zip(images.TARGETS, archives, strict=True):
            found = content(platforms(archive, is_wanted), interpreter)
            # The server's image names its Python; the init container has the same one.
            interpreter = found.interpreter
            document = image_sbom(
                name, self.version, found, self._locked, digest_of(archive), self.epoch
            )
            (self.folder / f"{name}-{self.version}.image.cdx.json").write_text(document)

    def _write(self, end: str, text: str) -> None:
        (self.folder / f"raywarden-{self.version}.{end}").write_text(text)


def _base_image(dockerfile: str) -> str:
    """The image that the first stage starts from, with the default of its ARG."""
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE))
    (image, *_) = re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    for name, value in arguments.items():
        image = image.replace(f"${{{name}}}", value)
    return str(image)
