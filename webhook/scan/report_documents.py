"""The results as report objects that policy-reporter and other dashboards read.

Sources: openreports.io/v1alpha1 and wgpolicyk8s.io/v1alpha2, which differ in their names and in
where they name the source.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from policies.registry import RULES
from webhook.kube.request import Resource
from webhook.reports.json_report import RuleUrl
from webhook.review.finding import Level, ReviewFinding, SuppressedBy
from webhook.review.results import ObjectResult, Results

SOURCE = "raywarden"
MANAGED_BY = "app.kubernetes.io/managed-by"
# Results that are not of a rule: an object without findings.
_NO_RULE = "raywarden"
_CATEGORY = "Ray Security"
# etcd stores 1.5 MiB, and the API server adds to a report what it manages.
_MAX_BYTES = 512 * 1024
_LONGEST_MESSAGE = 2000
_OUTCOMES = {Level.ERROR: "fail", Level.WARNING: "warn", Level.NOTE: "warn"}
_COUNTED = ("pass", "fail", "warn", "error", "skip")
_PROFILES = {rule.id: str(rule.profile).capitalize() for rule in RULES}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReportKind:
    """One of the two APIs of reports. Cluster-scoped reports are about Namespaces."""

    group: str
    version: str
    kind: str
    plural: str
    has_source: bool

    def resource(self, namespace: str) -> Resource:
        """The reports of a namespace, or those of the whole cluster."""
        plural = self.plural if namespace else f"cluster{self.plural}"
        return Resource(self.group, self.version, plural)

    def document(self, namespace: str, number: int, results: Sequence[Document]) -> Document:
        """A report; its name is the same in each scan."""
        metadata: Document = {
            "name": SOURCE if number == 1 else f"{SOURCE}-{number}",
            "labels": {MANAGED_BY: SOURCE},
        }
        if namespace:
            metadata["namespace"] = namespace
        outcomes = Counter(result["result"] for result in results)
        report = {
            "apiVersion": f"{self.group}/{self.version}",
            "kind": self.kind if namespace else f"Cluster{self.kind}",
            "metadata": metadata,
            "summary": {outcome: outcomes[outcome] for outcome in _COUNTED},
            "results": list(results),
        }
        return {**report, "source": SOURCE} if self.has_source else report


# The first one that a cluster has is used: policy-reporter reads both.
REPORT_KINDS = (
    ReportKind("openreports.io", "v1alpha1", "Report", "reports", True),
    ReportKind("wgpolicyk8s.io", "v1alpha2", "PolicyReport", "policyreports", False),
)


def reports(kind: ReportKind, scanned: Results, now: datetime) -> Iterator[Document]:
    """The reports about the scanned objects: one a namespace, or more if it would be too large."""
    by_namespace: dict[str, list[ObjectResult]] = defaultdict(list)
    for reviewed in scanned.objects:
        subject = reviewed.subject
        by_namespace["" if subject.kind == "Namespace" else subject.namespace].append(reviewed)
    for namespace, inside in sorted(by_namespace.items()):
        number, size = 1, 0
        results: list[Document] = []
        for reviewed in inside:
            for result in _results(reviewed, scanned.rule_url, now):
                length = len(orjson.dumps(result))
                if results and size + length > _MAX_BYTES:
                    yield kind.document(namespace, number, results)
                    number, size, results = number + 1, 0, []
                results.append(result)
                size += length
        yield kind.document(namespace, number, results)


def _results(reviewed: ObjectResult, rule_url: RuleUrl, now: datetime) -> Iterator[Document]:
    resource = _reference(reviewed)
    common: Document = {
        "source": SOURCE,
        "resources": [resource],
        "timestamp": {"seconds": int(now.timestamp()), "nanos": 0},
        "scored": True,
    }
    for finding in reviewed.findings:
        yield {**common, **_outcome(finding, rule_url(finding.rule))}
    if not reviewed.findings:
        message = "no rule has a finding that its owner does not have"
        passed = {"policy": _NO_RULE, "result": "pass", "category": _CATEGORY, "message": message}
        yield {**common, **passed}


def _outcome(finding: ReviewFinding, url: str) -> Document:
    message, result = f"{finding.message}. Fix: {finding.remediation}", _OUTCOMES[finding.level]
    suppression = finding.suppression
    if suppression is not None:
        by = "exempted" if suppression.by is SuppressedBy.EXEMPTION else str(suppression.by)
        message, result = f"{finding.message} ({by}: {suppression.reason})", "skip"
    profile = _PROFILES.get(finding.rule)
    properties = {
        # policy-reporter takes this for the identity of a result.
        "resultID": finding.fingerprint,
        "pointer": str(finding.pointer),
    }
    if url:
        properties["url"] = url
    return {
        "policy": finding.rule,
        "rule": finding.rule,
        "result": result,
        "severity": str(finding.severity),
        "category": f"{_CATEGORY} ({profile})" if profile else _CATEGORY,
        "message": message[:_LONGEST_MESSAGE],
        "properties": properties,
    }


def _reference(reviewed: ObjectResult) -> Document:
    subject = reviewed.subject
    reference = {"kind": subject.kind, "name": subject.name}
    for name, value in (("apiVersion", reviewed.api_version), ("uid", reviewed.uid)):
        if value:
            reference[name] = value
    if subject.kind != "Namespace":
        reference["namespace"] = subject.namespace
    return reference
