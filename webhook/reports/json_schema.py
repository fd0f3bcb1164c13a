"""The JSON Schema of the JSON report; tests hold every report against it."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from policies.model import Severity
from webhook.policy.schema import text_of
from webhook.reports.json_report import SCHEMA
from webhook.review.finding import Level, SuppressedBy


def text() -> str:
    """The schema (draft 2020-12) as a JSON document."""
    return text_of(Report, f"A report of raywarden review, {SCHEMA}")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel)


class ReportedSubject(_Part):
    """An object by its kind, namespace and name."""

    kind: str
    namespace: str
    name: str


class ReportedPlace(_Part):
    """A place in a file, in characters."""

    file: str = Field(description="the file; empty for an object of a live cluster")
    line: int = Field(ge=1)
    column: int = Field(ge=1)
    template: str | None = Field(description="the Helm template that the document comes from")


class ReportedSuppression(_Part):
    """Why a finding does not count."""

    by: SuppressedBy
    reason: str


class ReportedFinding(_Part):
    """A violation of a rule."""

    rule: str = Field(description="the id of the rule")
    rule_url: str | None = Field(
        description="the documentation of the rule, if RAYWARDEN_RULES_URL names one"
    )
    level: Level = Field(description="error: refused; warning: shown to the author; note: audited")
    severity: Severity
    message: str
    remediation: str
    pointer: str = Field(description="the JSON pointer of the place in the object, as written")
    place: ReportedPlace
    derived: ReportedSubject | None = Field(
        description="the object with the violation, if KubeRay creates it from the reviewed one"
    )
    fingerprint: str = Field(description="the same for this finding when lines move")
    suppression: ReportedSuppression | None


class ReportedDerivedObject(ReportedSubject):
    """An object that KubeRay creates from the reviewed one."""

    mutations: list[str] = Field(description="the ids of the mutations that change it")
    notes: list[str]


class ReportedObject(ReportedDerivedObject):
    """A reviewed object with its findings."""

    source: str = Field(description="the file, with #2 for its second object")
    place: ReportedPlace
    allowed: bool = Field(
        description="whether admission accepts it; comments and baselines do not change that"
    )
    findings: list[ReportedFinding]
    derived: list[ReportedDerivedObject]


class UnreadableSource(_Part):
    """What could not be read."""

    source: str
    reason: str


class ReportSummary(_Part):
    """Numbers of objects and findings."""

    reviewed: int
    denied: int
    warnings: int = Field(description="findings of this level that count")
    unreadable: int
    skipped: int = Field(description="objects that have nothing to do with Ray, and other files")
    suppressed: int = Field(description="findings that do not count")


class Report(_Part):
    """What `raywarden review --output json` writes."""

    schema_: Literal["raywarden.io/review/v1"] = Field(alias="schema")
    objects: list[ReportedObject]
    unreadable: list[UnreadableSource]
    notes: list[str] = Field(description="remarks about the policy and the review")
    summary: ReportSummary
