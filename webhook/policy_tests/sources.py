"""The objects that a test file names: by path, by pattern, or written in place."""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path, PurePath
from typing import Any

import orjson

from policies.problems import shown
from webhook.manifests.read import (
    SUFFIXES,
    Manifest,
    Result,
    SkippedFile,
    UnreadableManifest,
    is_object,
    objects,
    read,
)
from webhook.policy.yaml_file import read_bounded
from webhook.settings import SetupError

# `raywarden-test.yaml`, and names that end so, such as `gpu-raywarden-test.yaml`.
TEST_FILES = ("raywarden-test.yaml", "raywarden-test.yml")
_PATTERN = re.compile(r"[*?\[]")
# Far more than the chart or the folder of one case has.
_MAX_OBJECTS = 1_000
_MAX_FILES = 10_000
_MAX_BYTES = 16 * 1024 * 1024
# Policies and their tests are files of RayWarden; no cluster has them as objects.
_OWN_GROUP = "raywarden.io/"


class UnreadableSourceError(Exception):
    """Objects of a test cannot be read; the message is one line."""


class Sources:
    """Reads objects for the test files below `root`, each file once.

    No path may lead out of `root`: a test file may come from a pull request.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._read: dict[Path, tuple[Manifest, ...]] = {}

    def manifests(self, test_file: Path, source: Any) -> tuple[Manifest, ...]:
        """The objects of an entry: a path relative to the test file, a pattern, or an object.

        Raises UnreadableSourceError.
        """
        if not isinstance(source, str):
            return _in_place(test_file, source)
        if _PATTERN.search(source):
            return self._matching(test_file.parent, source)
        path = self.path(test_file, source)
        if path.name.endswith(TEST_FILES):
            raise UnreadableSourceError(f"{path}: a test file has no objects of a cluster")
        found = self._of(path)
        for manifest in found:
            if _is_ours(manifest):
                kind = shown(str(manifest.document["kind"]))
                raise UnreadableSourceError(f"{path}: a {kind} is not an object of a cluster")
        if not found:
            raise UnreadableSourceError(f"{path}: contains no Kubernetes object")
        return found

    def path(self, test_file: Path, source: str) -> Path:
        """The path that a test file names; raises UnreadableSourceError if it leads out."""
        path = test_file.parent / source
        self._require_inside(path, source)
        return path

    def _matching(self, folder: Path, pattern: str) -> tuple[Manifest, ...]:
        """The objects in the files that match; other files in the folders are skipped."""
        found: list[Manifest] = []
        for file in self._files(folder, pattern):
            found += [manifest for manifest in self._of(file) if not _is_ours(manifest)]
            if len(found) > _MAX_OBJECTS:
                raise _too_many(pattern)
        if not found:
            raise UnreadableSourceError(f"{pattern} matches no file with a Kubernetes object")
        return tuple(found)

    def _files(self, folder: Path, pattern: str) -> list[Path]:
        parts = PurePath(pattern).parts
        fixed = next(index for index, part in enumerate(parts) if _PATTERN.search(part))
        base, rest = folder.joinpath(*parts[:fixed]), "/".join(parts[fixed:])
        self._require_inside(base, pattern)
        if ".." in parts[fixed:]:
            raise UnreadableSourceError(f"{pattern}: write .. only before the first *, ? or [")
        if parts.count("**") > 1:
            # Each further one multiplies the folders that are searched.
            raise UnreadableSourceError(f"{pattern}: write ** only once")
        try:
            files = list(islice(base.glob(rest), _MAX_FILES + 1))
        except (OSError, ValueError) as error:
            raise UnreadableSourceError(f"{pattern}: {error}") from None
        if len(files) > _MAX_FILES:
            raise _too_many(pattern)
        manifests = sorted(filter(_may_be_manifest, files))
        for file in manifests:
            # A symbolic link may lead out although the pattern does not.
            self._require_inside(file, str(file))
        return manifests

    def _require_inside(self, path: Path, name: str) -> None:
        try:
            inside = path.resolve().is_relative_to(self._root)
        except (OSError, RuntimeError):
            raise UnreadableSourceError(f"{name}: a loop of symbolic links") from None
        if not inside:
            message = f"{name} leads out of {self._root}; start raywarden test in a folder above it"
            raise UnreadableSourceError(message)

    def _of(self, path: Path) -> tuple[Manifest, ...]:
        if path not in self._read:
            results = self._in_folder(path) if path.is_dir() else _in_file(path)
            self._read[path] = _manifests(results)
        return self._read[path]

    def _in_folder(self, folder: Path) -> Iterator[Result]:
        for result in read(str(folder)):
            if not result.source.endswith(TEST_FILES):
                self._require_inside(Path(result.source), result.source)
                yield result


def _in_place(test_file: Path, document: dict[str, Any]) -> tuple[Manifest, ...]:
    if isinstance(document.get("items"), list):
        return _manifests(objects(str(test_file), orjson.dumps(document)))
    if not is_object(document):
        raise UnreadableSourceError("not a Kubernetes object: set apiVersion and kind")
    return (Manifest(str(test_file), 1, document),)


def _may_be_manifest(file: Path) -> bool:
    return file.suffix in SUFFIXES and not file.name.endswith(TEST_FILES) and file.is_file()


def _in_file(path: Path) -> Iterator[Result]:
    try:
        content = read_bounded(path, _MAX_BYTES)
    except SetupError as error:
        raise UnreadableSourceError(str(error)) from None
    yield from objects(str(path), content)


def _manifests(results: Iterator[Result]) -> tuple[Manifest, ...]:
    found = []
    for result in islice(results, _MAX_OBJECTS + 1):
        match result:
            case UnreadableManifest():
                raise UnreadableSourceError(f"{result.source}: {result.why}")
            case SkippedFile():
                continue
            case Manifest():
                found.append(result)
    if len(found) > _MAX_OBJECTS:
        raise _too_many(found[0].source)
    return tuple(found)


def _is_ours(manifest: Manifest) -> bool:
    return str(manifest.document["apiVersion"]).startswith(_OWN_GROUP)


def _too_many(source: str) -> UnreadableSourceError:
    return UnreadableSourceError(f"{source}: more than {_MAX_OBJECTS} objects for one case")
