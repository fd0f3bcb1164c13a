"""Reads an image in an OCI archive: the digest to pull it by, and files of it."""

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.tools.release import ReleaseError

_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
# Files that are read whole, such as package metadata, are far smaller.
_LARGEST = 16 * 2**20
# Whether the file at a path is to be read.
Wanted = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class PlatformImage:
    """The image of one platform: what its environment says, and some of its files by path."""

    architecture: str
    environment: dict[str, str]
    files: dict[str, bytes]


def digest_of(archive: Path) -> str:
    """The digest of the image for all platforms: what a registry calls it after a push."""
    with tarfile.open(archive) as opened:
        return str(_only(_json(opened, "index.json"), archive)["digest"])


def platforms(archive: Path, is_wanted: Wanted) -> Iterator[PlatformImage]:
    """The image of each platform, with the files that `is_wanted` says."""
    with tarfile.open(archive) as opened:
        top = _only(_json(opened, "index.json"), archive)
        document = _json(opened, _blob(top["digest"]))
        # A builder writes an index for several platforms, and a manifest for one.
        manifests = [
            _json(opened, _blob(entry["digest"])) for entry in document.get("manifests", ())
        ]
        for manifest in manifests or [document]:
            yield _platform(opened, manifest, is_wanted)


def _platform(opened: tarfile.TarFile, manifest: Any, is_wanted: Wanted) -> PlatformImage:
    config = _json(opened, _blob(manifest["config"]["digest"]))
    files: dict[str, bytes] = {}
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=opened.extractfile(_blob(layer["digest"])), mode="r:*") as tar:
            for member in tar:
                _apply(files, tar, member, is_wanted)
    pairs = (pair.partition("=") for pair in config["config"].get("Env") or ())
    environment = {name: value for name, _, value in pairs}
    return PlatformImage(config["architecture"], environment, files)


def _apply(
    files: dict[str, bytes], layer: tarfile.TarFile, member: tarfile.TarInfo, is_wanted: Wanted
) -> None:
    """Add a member of a layer to the files, or delete what it marks as deleted."""
    path = member.name.removeprefix("./")
    folder, _, name = path.rpartition("/")
    if name == _OPAQUE:
        _delete(files, folder)
    elif name.startswith(_WHITEOUT):
        _delete(files, f"{folder}/{name.removeprefix(_WHITEOUT)}".lstrip("/"))
    elif member.isfile() and is_wanted(path):
        if member.size > _LARGEST:
            raise ReleaseError(f"{path} in the image is too large: {member.size} bytes")
        content = layer.extractfile(member)
        files[path] = content.read() if content else b""


def _delete(files: dict[str, bytes], path: str) -> None:
    for deleted in [name for name in files if name == path or name.startswith(f"{path}/")]:
        del files[deleted]


def _only(index: Any, archive: Path) -> Any:
    if len(index["manifests"]) != 1:
        raise ReleaseError(f"{archive.name} contains {len(index['manifests'])} images instead of 1")
    return index["manifests"][0]


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _json(opened: tarfile.TarFile, path: str) -> Any:
    content = opened.extractfile(path)
    return json.load(content) if content else {}
