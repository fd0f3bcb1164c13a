"""One finding of a review: what is wrong, where it is written, and how to fix it."""

from dataclasses import dataclass
from enum import StrEnum

from policies.documents.pointer import Pointer
from policies.model import Severity


class Level(StrEnum):
    """The effect at admission: an error is refused, a warning is shown, a note is only audited."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    @property
    def rank(self) -> int:
        """0 for the worst level."""
        return _RANKS[self]


_RANKS = {level: rank for rank, level in enumerate(Level)}


class SuppressedBy(StrEnum):
    """What keeps a finding from counting."""

    EXEMPTION = "exemption"
    COMMENT = "comment"
    BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Suppression:
    """Why a finding does not count."""

    by: SuppressedBy
    reason: str


@dataclass(frozen=True, slots=True)
class Subject:
    """An object as people name it."""

    kind: str
    namespace: str
    name: str

    @property
    def place(self) -> str:
        """The namespace and the name; only the name if the object is a Namespace."""
        return self.name if self.kind == "Namespace" else f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.kind} {self.place}"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a file, counted from 1, in characters.

    `file` is empty for an object of a live cluster, which `stored` names. `template` is the Helm
    template that a rendered document names as its source; the line and the column are those of the
    rendered text.
    """

    file: str
    line: int
    column: int
    template: str = ""
    stored: str = ""

    def __str__(self) -> str:
        return self.stored or f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class ReviewFinding:
    """A violation in the object `subject`, or in an object that KubeRay creates from it.

    `pointer` is the place in the manifest as its author wrote it; a field that is missing has the
    pointer where it belongs, and `place` is then that of its nearest parent. `fingerprint` stays
    the same when lines move.
    """

    rule: str
    level: Level
    severity: Severity
    message: str
    remediation: str
    pointer: Pointer
    place: Place
    subject: Subject
    fingerprint: str
    derived: Subject | None = None
    suppression: Suppression | None = None

    @property
    def counts(self) -> bool:
        """Whether it is neither exempt nor suppressed."""
        return self.suppression is None

    def fails_at(self, level: Level | None) -> bool:
        """Whether it counts and is at least as bad as `level`; None means never."""
        return level is not None and self.counts and self.level.rank <= level.rank
