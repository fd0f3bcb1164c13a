"""Kubernetes objects from files, folders and pipes."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
# Far above any real set of manifests. It keeps an endless pipe from filling the memory.
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object, the file it comes from, and its position in that file, counted from 1."""

    source: str
    number: int
    document: dict[str, Any]

    def __str__(self) -> str:
        return self.source if self.number == 1 else f"{self.source}#{self.number}"


@dataclass(frozen=True, slots=True)
class UnreadableManifest:
    """A source that could not be read, and why."""

    source: str
    why: str


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file in a folder that has no Kubernetes object, such as Helm values or a dashboard."""

    source: str


Result = Manifest | UnreadableManifest | SkippedFile


def read(source: str) -> Iterator[Result]:
    """Every object in a file, in the manifests below a folder, or on standard input (`-`).

    Reads all documents of a stream, all items of a List, and the rest of a folder after a bad file.
    Skips mappings with neither `apiVersion` nor `kind`, such as a values file. A source without any
    object is an error: an empty pipe must not look like clean manifests.
    """
    is_empty = True
    for result in _read(source):
        is_empty = is_empty and isinstance(result, SkippedFile)
        yield result
    if is_empty:
        yield UnreadableManifest(source, "contains no Kubernetes object")


def _read(source: str) -> Iterator[Result]:
    path = Path(source)
    if source == "-":
        yield from objects("stdin", sys.stdin.buffer.read(_MAX_BYTES + 1))
    elif path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix in _SUFFIXES and file.is_file():
                yield from _file(file, in_folder=True)
    else:
        yield from _file(path)


def _file(path: Path, *, in_folder: bool = False) -> Iterator[Result]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        yield UnreadableManifest(str(path), error.strerror or str(error))
        return
    results = list(objects(str(path), content))
    has_objects = any(isinstance(result, Manifest) for result in results)
    if in_folder and not has_objects and not _claims_an_object(content):
        yield SkippedFile(str(path))
        return
    yield from results


def _claims_an_object(content: bytes) -> bool:
    """Whether a document looks like an object, perhaps a wrong one; true if it cannot be read."""
    try:
        return any(map(_looks_like_an_object, _documents(content)))
    except UntrustedYamlError:
        return True


def _looks_like_an_object(document: Any) -> bool:
    """Whether it has a kind, or what objects have beside it; a Helm chart has an apiVersion too."""
    if isinstance(document, list):
        return any(isinstance(item, dict) and "kind" in item for item in document)
    if not isinstance(document, dict):
        return False
    return "kind" in document or ("apiVersion" in document and "metadata" in document)


def objects(source: str, content: bytes) -> Iterator[Manifest | UnreadableManifest]:
    """Every object in YAML or JSON; an UnreadableManifest ends the sequence at the first error.

    `source` is the name of the file for reports.
    """
    number = 0
    try:
        for document in _documents(content):
            for item in _items(document):
                number += 1
                yield Manifest(source, number, item)
    except UntrustedYamlError as error:
        yield UnreadableManifest(source, str(error))


def _documents(content: bytes) -> Iterator[Any]:
    if len(content) > _MAX_BYTES:
        raise UntrustedYamlError(f"larger than {_MAX_BYTES // 1024 // 1024} MiB")
    if content.lstrip()[:1] == b"{":
        # JSON is also YAML, but the JSON parser is faster. What it rejects may be YAML in braces.
        try:
            yield orjson.loads(content)
            return
        except orjson.JSONDecodeError:
            pass
    try:
        yield from load_all(content.decode())
    except UnicodeDecodeError:
        raise UntrustedYamlError("not UTF-8 text") from None


def _items(document: Any) -> Iterator[dict[str, Any]]:
    """The objects in a document; a List may contain Lists, to any depth."""
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if _is_skipped(item):
            continue
        if not _is_object(item):
            raise UntrustedYamlError("not a Kubernetes object: set apiVersion and kind")
        if isinstance(item.get("items"), list) and item["kind"].endswith("List"):
            waiting += reversed(item["items"])
        else:
            yield item


def _is_skipped(item: Any) -> bool:
    """Whether this is an empty document or a mapping that does not claim to be an object."""
    if item is None:
        return True
    return isinstance(item, dict) and "kind" not in item and "apiVersion" not in item


def _is_object(item: Any) -> bool:
    if not isinstance(item, dict):
        return False
    return isinstance(item.get("kind"), str) and isinstance(item.get("apiVersion"), str)
