"""The results of a review, which every format is written from."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath

from policies.model import Severity
from policies.registry import RULE_IDS
from webhook.manifests.read import UnreadableManifest
from webhook.manifests.source_text import SourceText
from webhook.review.finding import Level, Place, ReviewFinding, Subject
from webhook.review.suppressions import AUTHOR_SUPPRESSIONS

# Worst first.
_SEVERITIES = tuple(Severity)
# The administrator's own rules are not among them.
_DOCUMENTED = frozenset((*RULE_IDS, AUTHOR_SUPPRESSIONS))


@dataclass(frozen=True, slots=True)
class DerivedObject:
    """An object that KubeRay creates from another, and what RayWarden writes into it."""

    subject: Subject
    mutations: tuple[str, ...] = ()
    operations: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What the review says about one object; `source` names it in its file.

    `allowed` is true if admission would accept the object, and those that KubeRay creates from it;
    a baseline or a comment does not change that. `notes` are remarks of the mutations. `findings`
    are in the order of the rules, those of derived objects last. An object of a live cluster has
    an `api_version` and a `uid`.
    """

    source: str
    place: Place
    subject: Subject
    allowed: bool
    mutations: tuple[str, ...]
    operations: int
    notes: tuple[str, ...]
    findings: tuple[ReviewFinding, ...]
    derived: tuple[DerivedObject, ...] = ()
    api_version: str = ""
    uid: str = ""

    def of_severities(self, severities: Collection[Severity]) -> "ObjectResult":
        """The result without findings of other severities."""
        kept = (finding for finding in self.findings if finding.severity in severities)
        return replace(self, findings=tuple(kept))


@dataclass(frozen=True)
class Results:
    """A whole review: its objects, what could not be read, and notes about the policy.

    `texts` are the contents of the files by name, for formats that show lines. Reports name files
    relative to `folder`. `rules_url` is the published documentation of the rules, if there is one.
    """

    objects: Sequence[ObjectResult]
    unreadable: Sequence[UnreadableManifest] = ()
    skipped: int = 0
    notes: Sequence[str] = ()
    texts: Mapping[str, SourceText] = field(default_factory=dict, repr=False)
    folder: PurePath = field(default_factory=PurePath)
    rules_url: str = ""

    def rule_url(self, rule: str) -> str:
        """The documentation of the rule with this id; empty if none is published."""
        is_documented = self.rules_url and rule in _DOCUMENTED
        return f"{self.rules_url}#{rule}" if is_documented else ""

    @cached_property
    def findings(self) -> tuple[ReviewFinding, ...]:
        """Every finding, also those that do not count."""
        return tuple(self._findings())

    def _findings(self) -> Iterator[ReviewFinding]:
        for reviewed in self.objects:
            yield from reviewed.findings

    def count(self, level: Level) -> int:
        """The number of findings of a level that count."""
        return sum(finding.counts and finding.level is level for finding in self.findings)

    @property
    def denied(self) -> int:
        """The number of objects that admission would refuse."""
        return sum(not reviewed.allowed for reviewed in self.objects)

    @property
    def suppressed(self) -> int:
        """The number of findings that do not count."""
        return sum(not finding.counts for finding in self.findings)

    def at_least(self, severity: Severity) -> "Results":
        """The results without findings of a lower severity."""
        lowest = _SEVERITIES.index(severity)
        kept = _SEVERITIES[: lowest + 1]
        objects = [reviewed.of_severities(kept) for reviewed in self.objects]
        return replace(self, objects=objects)

    def fails_at(self, level: Level | None) -> bool:
        """Whether a finding that counts is at least as bad as `level`; None means never."""
        return any(finding.fails_at(level) for finding in self.findings)
