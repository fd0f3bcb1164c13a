"""Reports have the fields that policy-reporter reads, and a size that etcd stores."""

from dataclasses import replace

import orjson

from policies.documents.pointer import ROOT
from policies.model import Severity
from tests.webhook.scan.scanned import NOW
from webhook.review.finding import (
    Level,
    Place,
    ReviewFinding,
    Subject,
    SuppressedBy,
    Suppression,
)
from webhook.review.results import ObjectResult, Results
from webhook.scan.report_documents import REPORT_KINDS, reports

OPEN_REPORTS, POLICY_REPORTS = REPORT_KINDS


def result_of(subject: Subject, *findings: ReviewFinding) -> ObjectResult:
    place = Place("", 1, 1, stored=str(subject))
    return ObjectResult(
        str(subject), place, subject, True, (), 0, (), findings, api_version="v1", uid="u"
    )


def finding(subject: Subject, **fields: object) -> ReviewFinding:
    usual = ReviewFinding(
        rule="no-root",
        level=Level.ERROR,
        severity=Severity.HIGH,
        message="it is root",
        remediation="set runAsNonRoot: true",
        pointer=ROOT / "spec",
        place=Place("", 1, 1),
        subject=subject,
        fingerprint="f1",
    )
    return replace(usual, **fields)  # type: ignore[arg-type]  # the fields of a finding


POD = Subject("Pod", "team-a", "demo")


def test_each_outcome_has_its_result() -> None:
    suppression = Suppression(SuppressedBy.EXEMPTION, "by contract")
    findings = (
        finding(POD),
        finding(POD, level=Level.WARNING, fingerprint="f2", rule="own-rule"),
        finding(POD, level=Level.NOTE, fingerprint="f3"),
        finding(POD, suppression=suppression, fingerprint="f4"),
    )
    clean = result_of(Subject("Pod", "team-a", "clean"))
    scanned = Results([result_of(POD, *findings), clean], rules_url="https://docs.example/rules")
    (report,) = reports(OPEN_REPORTS, scanned, NOW)
    assert report["summary"] == {"pass": 1, "fail": 1, "warn": 2, "error": 0, "skip": 1}
    assert [result["result"] for result in report["results"]] == [
        "fail",
        "warn",
        "warn",
        "skip",
        "pass",
    ]
    assert report["results"][0] == {
        "source": "raywarden",
        "policy": "no-root",
        "rule": "no-root",
        "category": "Ray Security (Restricted)",
        "severity": "high",
        "result": "fail",
        "scored": True,
        "message": "it is root. Fix: set runAsNonRoot: true",
        "timestamp": {"seconds": int(NOW.timestamp()), "nanos": 0},
        "resources": [
            {"apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": "demo", "uid": "u"}
        ],
        "properties": {
            "resultID": "f1",
            "pointer": "/spec",
            "url": "https://docs.example/rules#no-root",
        },
    }
    assert report["results"][1]["category"] == "Ray Security"
    assert "url" not in report["results"][1]["properties"], "the administrator's own rule"
    assert report["results"][3]["message"] == "it is root (exempted: by contract)"


def test_each_namespace_has_a_report_and_namespaces_have_one_of_the_cluster() -> None:
    subjects = (POD, Subject("Pod", "team-b", "demo"), Subject("Namespace", "team-a", "team-a"))
    results = [result_of(subject) for subject in subjects]
    places = [
        (report["kind"], report["metadata"].get("namespace"), report["metadata"]["name"])
        for report in reports(POLICY_REPORTS, Results(results), NOW)
    ]
    assert places == [
        ("ClusterPolicyReport", None, "raywarden"),
        ("PolicyReport", "team-a", "raywarden"),
        ("PolicyReport", "team-b", "raywarden"),
    ]
    kinds = [kind.resource("").plural for kind in REPORT_KINDS]
    assert kinds == ["clusterreports", "clusterpolicyreports"]


def test_only_open_reports_name_the_source_of_the_whole_report() -> None:
    (report,) = reports(POLICY_REPORTS, Results([result_of(POD)]), NOW)
    assert "source" not in report
    (report,) = reports(OPEN_REPORTS, Results([result_of(POD)]), NOW)
    assert report["source"] == "raywarden"


def test_large_reports_are_split_below_what_etcd_stores() -> None:
    findings = [finding(POD, message="x" * 5000, fingerprint=f"f{n}") for n in range(1000)]
    written = list(reports(OPEN_REPORTS, Results([result_of(POD, *findings)]), NOW))
    assert [report["metadata"]["name"] for report in written][:2] == ["raywarden", "raywarden-2"]
    assert all(len(orjson.dumps(report)) < 1024 * 1024 for report in written)
    assert sum(report["summary"]["fail"] for report in written) == 1000
