"""Kubernetes objects out of files, folders and pipes."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from policies.documents.untrusted_yaml import UntrustedYamlError, load_all

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})
_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it was found: the file, and which object of it, counted from 1."""

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


def read(source: str) -> Iterator[Manifest | UnreadableManifest]:
    """Every object in a file, in the manifests below a folder, or on standard input (`-`).

    Documents of a stream, items of a List and the rest of a folder after a bad file are all looked at. Mappings that
    are no Kubernetes objects (neither `apiVersion` nor `kind`, as in a values file) are passed over, but a source
    without any object is an error: an empty pipe must not pass for a clean one.
    """
    found = False
    for one in _read(source):
        found = True
        yield one
    if not found:
        yield UnreadableManifest(source, "no Kubernetes object in it")


def _read(source: str) -> Iterator[Manifest | UnreadableManifest]:
    path = Path(source)
    if source == "-":
        yield from objects("stdin", sys.stdin.buffer.read(_MAX_BYTES + 1))
    elif path.is_dir():
        for file in sorted(
            file for file in path.rglob("*") if file.suffix in _SUFFIXES and file.is_file()
        ):
            yield from _file(file)
    else:
        yield from _file(path)


def _file(path: Path) -> Iterator[Manifest | UnreadableManifest]:
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        yield UnreadableManifest(str(path), error.strerror or str(error))
        return
    yield from objects(str(path), content)


def objects(source: str, content: bytes) -> Iterator[Manifest | UnreadableManifest]:
    """Every object in YAML or JSON, under the name of where it came from; what cannot be read is said last."""
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
        # JSON is YAML too, but this way is faster; what it cannot read may still be YAML in braces.
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
    """The objects in a document; Lists may hold Lists, to any depth."""
    waiting = [document]
    while waiting:
        found = waiting.pop()
        if found is None or (
            isinstance(found, dict) and "kind" not in found and "apiVersion" not in found
        ):
            continue
        if not isinstance(found, dict) or not all(
            isinstance(found.get(name), str) for name in ("kind", "apiVersion")
        ):
            raise UntrustedYamlError("not a Kubernetes object: write apiVersion and kind")
        if isinstance(found.get("items"), list) and found["kind"].endswith("List"):
            waiting += reversed(found["items"])
        else:
            yield found
