"""The baseline: findings that a repository already had, so that only new ones fail."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from policies.problems import shown
from webhook.review.files import file_in
from webhook.review.finding import Level, ReviewFinding, SuppressedBy, Suppression
from webhook.review.results import Results
from webhook.settings import SetupError

_SCHEMA = "raywarden.io/baseline/v1"
# More than a hundred thousand findings.
_MAX_BYTES = 64 * 1024 * 1024


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class BaselineEntry(_Part):
    """A finding, and the day on which it was first recorded.

    The fingerprint alone identifies it; a finding that has become worse than `level` counts. The
    rest is for people who read the file. Files of the first version have no levels.
    """

    file: str
    object: str
    rule: str
    message: str
    level: Level | None = None
    fingerprint: str = Field(min_length=1)
    first_seen: date

    def covers(self, finding: ReviewFinding) -> bool:
        """Whether the recorded finding was at least as bad."""
        return self.level is None or self.level.rank <= finding.level.rank


class _BaselineFile(_Part):
    schema_: Literal["raywarden.io/baseline/v1"] = Field(alias="schema")
    findings: tuple[BaselineEntry, ...]


class Baseline:
    """The recorded findings by their fingerprints."""

    def __init__(self, entries: Iterable[BaselineEntry] = ()) -> None:
        self._entries: Mapping[str, BaselineEntry] = {entry.fingerprint: entry for entry in entries}

    @classmethod
    def read(cls, file: Path, *, may_be_missing: bool = False) -> Self:
        """The baseline in a file; raises SetupError."""
        try:
            if file.exists() and not file.is_file():
                raise SetupError(f"{file}: not a file")
            with file.open("rb") as stream:
                content = stream.read(_MAX_BYTES + 1)
        except OSError as error:
            if may_be_missing and isinstance(error, FileNotFoundError):
                return cls()
            raise SetupError(f"{file}: {error.strerror}") from None
        if len(content) > _MAX_BYTES:
            raise SetupError(f"{file}: larger than {_MAX_BYTES // 1024 // 1024} MiB")
        try:
            return cls(_BaselineFile.model_validate_json(content, strict=True).findings)
        except ValidationError as error:
            raise SetupError(f"{file}: not a baseline: {_first(error)}") from None

    def write(self, file: Path) -> None:
        """Write the baseline, as a whole or not at all; raises SetupError."""
        entries = sorted(
            self._entries.values(),
            key=lambda entry: (
                entry.file,
                entry.object,
                entry.rule,
                entry.message,
                entry.fingerprint,
            ),
        )
        findings = [
            entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in entries
        ]
        document = {"schema": _SCHEMA, "findings": findings}
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        try:
            if file.exists() and not file.is_file():
                raise SetupError(f"{file}: not a file")
            _replace(file, text.encode(errors="replace"))
        except OSError as error:
            raise SetupError(f"{file}: {error.strerror}") from None

    def updated(self, results: Results, today: date) -> "Baseline":
        """The baseline of all findings that count, each with the day on which it was first seen.

        Findings that no longer occur are dropped, unless they may be in what could not be read.
        """
        entries = dict(self._entries) if results.unreadable else {}
        for finding in results.findings:
            if finding.counts:
                known = self._entries.get(finding.fingerprint)
                first_seen = known.first_seen if known else today
                entries[finding.fingerprint] = _entry(finding, results, first_seen)
        return Baseline(entries.values())

    def applied(self, results: Results) -> Results:
        """The results where recorded findings do not count."""
        objects = [
            replace(reviewed, findings=tuple(map(self._suppressed, reviewed.findings)))
            for reviewed in results.objects
        ]
        return replace(results, objects=objects)

    def _missing_from(self, results: Results) -> int:
        """The number of recorded findings that no longer occur; 0 if something was not read."""
        if results.unreadable:
            return 0
        return len(self._entries.keys() - {finding.fingerprint for finding in results.findings})

    def remarks(self, results: Results) -> Iterator[str]:
        """What to know of the recorded findings: how many are gone, are worse, or have no level."""
        missing = self._missing_from(results)
        if missing:
            yield f"{missing} of its findings no longer occur; update it with --write-baseline"
        worse = sum(self._is_worse(finding) for finding in results.findings)
        if worse:
            yield f"{worse} of its findings count, because they have a worse level now"
        old = sum(entry.level is None for entry in self._entries.values())
        if old:
            yield (
                f"{old} of its findings have no level, so they stay hidden whatever the policy "
                "makes of them; update it with --write-baseline"
            )

    def _is_worse(self, finding: ReviewFinding) -> bool:
        entry = self._entries.get(finding.fingerprint)
        return entry is not None and finding.counts and not entry.covers(finding)

    def _suppressed(self, finding: ReviewFinding) -> ReviewFinding:
        entry = self._entries.get(finding.fingerprint)
        if entry is None or not finding.counts or not entry.covers(finding):
            return finding
        reason = f"first seen on {entry.first_seen}"
        return replace(finding, suppression=Suppression(SuppressedBy.BASELINE, reason))


def _replace(file: Path, content: bytes) -> None:
    """Write the file as a whole or not at all; raises OSError."""
    # A link stays a link, and the file that it leads to is replaced.
    target = Path(os.path.realpath(file))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def _entry(finding: ReviewFinding, results: Results, first_seen: date) -> BaselineEntry:
    place = finding.place
    return BaselineEntry.model_validate(
        {
            "file": place.template or (place.file and file_in(results.folder, place.file)),
            "object": str(finding.subject),
            "rule": finding.rule,
            "message": finding.message,
            "level": str(finding.level),
            "fingerprint": finding.fingerprint,
            "firstSeen": first_seen,
        }
    )


def _first(error: ValidationError) -> str:
    """The first problem, on one line."""
    problem = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(map(str, problem["loc"]))
    text = f"{place}: {problem['msg']}" if place else problem["msg"]
    return shown(text)
