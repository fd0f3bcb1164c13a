"""Kubernetes objects from files, folders and pipes."""

import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untrusted_yaml import UntrustedYamlError
from policies.documents.yaml_scalars import whole
from webhook.manifests.source_text import SourceText

# The name of standard input in reports.
STDIN = "stdin"
SUFFIXES = frozenset({".yaml", ".yml", ".json"})
# A number with a decimal point or an exponent; versions in strings match as well, which only costs.
_DECIMALS = re.compile(rb"[0-9][.eE][-+0-9]")
# Far above any real set of manifests. It keeps an endless pipe from filling the memory.
_MAX_BYTES = 64 * 1024 * 1024
# The same for documents that are nearly empty, each of which costs more than its bytes.
_MAX_OBJECTS = 100_000


@dataclass(frozen=True, slots=True)
class Written:
    """Where a manifest is written: the text, its document (from 0), and its place in a List."""

    text: SourceText
    document: int
    pointer: Pointer


@dataclass(frozen=True, slots=True)
class Manifest:
    """An object, the file it comes from, and its position in that file, counted from 1.

    `written` is None for an object that was not read from a text.
    """

    source: str
    number: int
    document: dict[str, Any]
    written: Written | None = field(default=None, repr=False, compare=False)

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
        yield from objects(STDIN, sys.stdin.buffer.read(_MAX_BYTES + 1))
    elif path.is_dir():
        yield from _folder(path)
    else:
        yield from _file(path)


def _folder(path: Path) -> Iterator[Result]:
    """The manifests below a folder, without following links to other folders."""
    unlisted: list[OSError] = []
    files = [
        Path(folder, name)
        for folder, _, names in os.walk(path, onerror=unlisted.append)
        for name in names
    ]
    for error in unlisted:
        yield UnreadableManifest(str(error.filename), error.strerror or str(error))
    for file in sorted(files):
        if file.suffix in SUFFIXES and (file.is_file() or not file.exists()):
            yield from _file(file, in_folder=True)


def _content(path: Path) -> bytes:
    """The start of a file, longer than any that is reviewed; raises OSError."""
    # `<(helm template .)` in a shell is a pipe, too, and is read.
    is_named_pipe = not path.is_relative_to("/dev/fd") and stat.S_ISFIFO(path.stat().st_mode)
    if is_named_pipe:
        raise OSError("a named pipe; to review what comes through a pipe, use -")
    with path.open("rb") as stream:
        return stream.read(_MAX_BYTES + 1)


def _file(path: Path, *, in_folder: bool = False) -> Iterator[Result]:
    try:
        content = _content(path)
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
        return any(map(_looks_like_an_object, _documents(SourceText("", content))))
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
    text = SourceText(source, content)
    try:
        for position, document in enumerate(_documents(text)):
            if max(position, number) >= _MAX_OBJECTS:
                raise UntrustedYamlError(f"more than {_MAX_OBJECTS} documents")
            for pointer, item in _items(document):
                number += 1
                yield Manifest(source, number, item, Written(text, position, pointer))
    except UntrustedYamlError as error:
        yield UnreadableManifest(source, str(error))


def _documents(text: SourceText) -> Iterator[Any]:
    content = text.content
    if len(content) > _MAX_BYTES:
        raise UntrustedYamlError(f"larger than {_MAX_BYTES // 1024 // 1024} MiB")
    if content.lstrip()[:1] == b"{":
        # JSON is also YAML, but the JSON parser is faster. What it rejects may be YAML in braces.
        try:
            document = orjson.loads(content)
            if _DECIMALS.search(content):
                _make_whole(document)
            yield document
            return
        except orjson.JSONDecodeError:
            pass
    try:
        yield from text.documents()
    except UnicodeDecodeError:
        raise UntrustedYamlError("not UTF-8 text") from None


def _make_whole(document: Any) -> None:
    """Replace numbers such as 8265.0 by whole ones, as kubectl does before it sends an object."""
    waiting = [document]
    while waiting:
        parent = waiting.pop()
        for place, value in list(parent.items() if isinstance(parent, dict) else enumerate(parent)):
            if isinstance(value, float):
                parent[place] = whole(value)
            elif isinstance(value, dict | list):
                waiting.append(value)


def _items(document: Any) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """The objects in a document with their places; a List may contain Lists, to any depth."""
    waiting: list[tuple[Pointer, Any]] = [(ROOT, document)]
    if _is_skipped(document):
        return
    while waiting:
        pointer, item = waiting.pop()
        if not is_object(item):
            raise UntrustedYamlError("not a Kubernetes object: set apiVersion and kind")
        # Like kubectl, whatever the kind: no object of Kubernetes has a field `items` of its own.
        if isinstance(item.get("items"), list):
            contained = [
                (pointer / "items" / index, _with_kind(inner, item))
                for index, inner in enumerate(item["items"])
            ]
            waiting += reversed([entry for entry in contained if entry[1] is not None])
        else:
            yield pointer, item


def _with_kind(item: Any, parent: Mapping[str, Any]) -> Any:
    """An item of a list with the kind that the list implies, if it states none.

    Source: `decodeToList` of Kubernetes' apimachinery, which also gives the items of a
    RayClusterList the list's own apiVersion. The items of a plain List must state both.
    """
    kind = parent["kind"].removesuffix("List")
    if not isinstance(item, dict) or not kind:
        return item
    implied = {"kind": kind, "apiVersion": parent["apiVersion"]}
    # An item of another kind may be of another group, so its apiVersion is not implied.
    if item.get("kind") not in (None, "", kind):
        return item
    return {**item, **{name: value for name, value in implied.items() if not item.get(name)}}


def _is_skipped(document: Any) -> bool:
    """Whether this is an empty document or a mapping that does not claim to be an object."""
    if document is None:
        return True
    return isinstance(document, dict) and "kind" not in document and "apiVersion" not in document


def is_object(item: Any) -> bool:
    """Whether it states a kind; without one the API server would refuse it."""
    if not isinstance(item, dict):
        return False
    return all(isinstance(item.get(name), str) and item[name] for name in ("kind", "apiVersion"))
