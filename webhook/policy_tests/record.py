"""Writes what admission decides into test files as what is expected, and keeps their comments."""

import copy
import os
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from policies.documents.untrusted_yaml import Positioned, UntrustedYamlError
from webhook.policy.yaml_file import only_document
from webhook.policy_tests.comparison import ID_FIELDS, CaseOutcome, yaml_text
from webhook.policy_tests.files import LoadedTest
from webhook.policy_tests.results import Difference
from webhook.policy_tests.run import RunCase
from webhook.policy_tests.sources import Sources, UnreadableSourceError
from webhook.settings import SetupError

# A longer list is written as a block, one entry a line.
_FLOW_WIDTH = 80
# Longer than any line: ruamel.yaml would wrap what the author wrote on one line.
_NO_WRAP = 1_000_000
Expect = dict[str, Any]


def record(test: LoadedTest, cases: Sequence[RunCase], sources: Sources) -> list[Path]:
    """Write the outcomes of cases that differ; returns the files that were written.

    Each file is replaced as a whole or not at all. `messages` and `storedContains` stay as they
    are. Raises SetupError.
    """
    contents: dict[Path, bytes] = {}
    recorded: dict[int, Expect] = {}
    for case in cases:
        if case.outcome is None:
            continue
        before = test.document.value["cases"][case.index].get("expect") or {}
        after = _recorded(before, case.result.differences, case.outcome)
        if after != before:
            recorded[case.index] = after
        if path := _stored_file(test, case, sources):
            documents = case.outcome.stored
            contents[path] = "---\n".join(map(yaml_text, documents)).encode()
    if recorded:
        contents[test.file] = _rewritten(test, recorded)
    for file, content in contents.items():
        replace_file(file, content)
    return list(contents)


def _recorded(before: Expect, found: Sequence[Difference], outcome: CaseOutcome) -> Expect:
    """What a case expects after it was recorded."""
    if not before:
        return dict(_everything(outcome))
    after = copy.deepcopy(before)
    for difference in found:
        name, _, part = difference.field.partition(".")
        if part:
            after["contains"][part] = difference.actual
        elif name in ("verdict", *ID_FIELDS) or isinstance(before.get(name), list):
            after[name] = difference.actual if name != "messages" else before[name]
    return after


def _everything(outcome: CaseOutcome) -> Iterator[tuple[str, Any]]:
    """What is written for a case that expects nothing yet."""
    yield "verdict", outcome.verdict
    for name in ID_FIELDS:
        ids = outcome.ids(name)
        # That nothing warns is worth noticing when it changes; `verdict` says that nothing denies.
        if ids or name == "warns":
            yield name, ids


def _stored_file(test: LoadedTest, case: RunCase, sources: Sources) -> Path | None:
    """The file with the expected objects of a case, if it differs."""
    source = test.test.cases[case.index].expect.stored
    differs = any(difference.field == "stored" for difference in case.result.differences)
    if not differs or not isinstance(source, str):
        return None
    try:
        return sources.path(test.file, source)
    except UnreadableSourceError as error:
        raise SetupError(f"{test.file}: {error}") from None


def _rewritten(test: LoadedTest, recorded: Mapping[int, Expect]) -> bytes:
    """The content of the test file with what cases expect; raises SetupError."""
    yaml = _round_trip(test)
    document = yaml.load(test.content)
    for index, expect in recorded.items():
        case = document["cases"][index]
        case["expect"] = _merged(case.get("expect"), expect)
    stream = BytesIO()
    yaml.dump(document, stream)
    content = stream.getvalue()
    if b"\r\n" in test.content:
        content = content.replace(b"\n", b"\r\n")
    _require_only_these_changes(test, content, recorded)
    return content


def _round_trip(test: LoadedTest) -> YAML:
    """A reader and writer of YAML that keeps comments, quotes, and the indentation of the file."""
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = _NO_WRAP
    yaml.explicit_start = test.content.lstrip().startswith(b"---")
    first = test.document.place(("cases", 0))
    line = test.content.decode().splitlines()[first.line - 1]
    dash = line.find("-")
    if 0 <= dash < first.column - 1:
        yaml.indent(mapping=_step(test.document), sequence=first.column - 1, offset=dash)
    return yaml


def _step(document: Positioned) -> int:
    """The number of blanks by which the file indents a mapping."""
    for index, case in enumerate(document.value["cases"]):
        for name in case.get("expect") or ():
            place = ("cases", index, "expect")
            key, inner = document.place(place, key=True), document.place((*place, name), key=True)
            if inner.line > key.line and inner.column > key.column:
                return inner.column - key.column
    return 2


def _merged(old: Any, new: Expect) -> Any:
    """`old` with the values of `new`; what stays equal keeps its comments and style."""
    if not isinstance(old, CommentedMap):
        old = CommentedMap()
    for name in [name for name in old if name not in new]:
        del old[name]
    for name, value in new.items():
        if isinstance(value, dict):
            old[name] = _merged(old.get(name), value)
        elif name not in old or old[name] != value:
            old[name] = _merged_list(old.get(name), value) if isinstance(value, list) else value
    return old


def _merged_list(old: Any, new: list[Any]) -> CommentedSeq:
    merged: CommentedSeq = old
    if not isinstance(old, CommentedSeq):
        merged = CommentedSeq()
        if sum(len(str(item)) + 2 for item in new) <= _FLOW_WIDTH:
            merged.fa.set_flow_style()
    for index in reversed(range(len(merged))):
        if merged[index] not in new:
            del merged[index]
    merged.extend([item for item in new if item not in merged])
    return merged


def _require_only_these_changes(
    test: LoadedTest, content: bytes, recorded: Mapping[int, Expect]
) -> None:
    """Raise SetupError if the new content says something else than it should."""
    wanted = copy.deepcopy(test.document.value)
    # Cases that share an anchor share an object.
    wanted["cases"] = [copy.deepcopy(case) for case in wanted["cases"]]
    for index, expect in recorded.items():
        wanted["cases"][index]["expect"] = expect
    try:
        written = only_document(content, "test file").value
    except UntrustedYamlError:
        written = None
    if _comparable(written) != _comparable(wanted):
        message = "cannot be recorded without other changes: write expect without anchors"
        raise SetupError(f"{test.file}: {message}")


def _comparable(document: Any) -> Any:
    """The document with the ids of each list in one order."""
    if document is None:
        return None
    comparable = copy.deepcopy(document)
    for case in comparable["cases"]:
        expect = case.get("expect") or {}
        for group in (expect, expect.get("contains") or {}):
            group.update({name: sorted(group[name]) for name in ID_FIELDS if name in group})
    return comparable


def replace_file(file: Path, content: bytes) -> None:
    """Replace a file as a whole, with its mode; raises SetupError and leaves it as it was."""
    target = file.resolve()
    try:
        mode = target.stat().st_mode if target.exists() else 0o644
        if not mode & 0o222:
            raise SetupError(f"{file}: is read-only")
        with NamedTemporaryFile(
            dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as draft:
            try:
                draft.write(content)
                draft.flush()
                os.fsync(draft.fileno())
                os.chmod(draft.name, mode & 0o777)
                os.replace(draft.name, target)
            except OSError:
                Path(draft.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        raise SetupError(f"{file}: {error.strerror}") from None
