"""The Python and Debian packages in an image, as its own metadata names them."""

import email
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.message import Message

from tests.tools.release.lock import normalized
from tests.tools.release.oci_archive import PlatformImage

_METADATA = ".dist-info/METADATA"
_DPKG_STATUS = "var/lib/dpkg/status"
# Images without a package manager have a file for each package, for scanners.
_DPKG_FOLDER = "var/lib/dpkg/status.d/"
# A license longer than this is the text of a license, and not its name.
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True, order=True)
class PythonPackage:
    """A Python package, and the name or expression of its license; empty if it is not known."""

    name: str
    version: str
    license: str = ""


@dataclass(frozen=True, slots=True, order=True)
class DebianPackage:
    """A Debian package."""

    name: str
    version: str
    architecture: str


@dataclass(frozen=True, slots=True)
class ImageContent:
    """The packages of an image on all its platforms, and the version of its Python if known."""

    python: list[PythonPackage]
    debian: list[DebianPackage]
    interpreter: str = ""


def is_wanted(path: str) -> bool:
    """Whether `content` reads the file at this path of an image."""
    return path.endswith(_METADATA) or path == _DPKG_STATUS or path.startswith(_DPKG_FOLDER)


def content(platforms: Iterable[PlatformImage], interpreter: str = "") -> ImageContent:
    """What is in an image; `interpreter` is the version of its Python if the image names none."""
    python: dict[tuple[str, str], PythonPackage] = {}
    debian: set[DebianPackage] = set()
    for platform in platforms:
        interpreter = platform.environment.get("PYTHON_VERSION", interpreter)
        for path, text in platform.files.items():
            if path.endswith(_METADATA):
                package = _python(_message(text))
                python[package.name, package.version] = package
            else:
                debian.update(_debian(text))
    return ImageContent(sorted(python.values()), sorted(debian), interpreter)


def _python(metadata: Message) -> PythonPackage:
    license = metadata.get("License-Expression") or metadata.get("License") or ""
    if len(license) > _LONGEST_NAME:
        license = license.partition("\n")[0][:_LONGEST_NAME]
    return PythonPackage(normalized(metadata["Name"]), metadata["Version"], license.strip())


def _debian(status: bytes) -> Iterator[DebianPackage]:
    """The packages of a dpkg status file: paragraphs, of which each describes one package."""
    for paragraph in status.split(b"\n\n"):
        fields = _message(paragraph.lstrip())
        if "Package" in fields and fields.get("Status", "").endswith(" installed"):
            yield DebianPackage(fields["Package"], fields["Version"], fields["Architecture"])


def _message(text: bytes) -> Message:
    return email.message_from_bytes(text)
