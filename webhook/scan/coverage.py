"""What only a cluster shows: namespaces with Ray in them that webhooks skip."""

from collections.abc import Iterator, Mapping
from typing import Any

from policies.documents.pointer import ROOT
from policies.model import Severity
from webhook.check.coverage import skipped_namespace
from webhook.review.finding import Level, Place, ReviewFinding, Subject
from webhook.review.fingerprint import Fingerprints
from webhook.review.results import ObjectResult

RULE = "webhook-coverage"


def namespace_results(
    configurations: Mapping[str, Mapping[str, Any]], namespace: str, labels: Mapping[str, Any]
) -> Iterator[ObjectResult]:
    """A result for the Namespace if a webhook of these configurations is not called for it."""
    subject = Subject("Namespace", namespace, namespace)
    place, fingerprints = Place("", 1, 1, stored=str(subject)), Fingerprints()
    # A Namespace that may not be read has no known labels; this one Kubernetes sets.
    known = {"kubernetes.io/metadata.name": namespace, **labels}
    findings: list[ReviewFinding] = []
    for kind, configuration in configurations.items():
        for skipped in skipped_namespace(kind, configuration, namespace, known):
            finding = ReviewFinding(
                rule=RULE,
                level=Level.WARNING,
                severity=Severity.HIGH,
                message=skipped.message,
                remediation=skipped.remediation,
                pointer=ROOT / "metadata" / "labels",
                place=place,
                subject=subject,
                fingerprint=fingerprints.of("", subject, RULE, skipped.message, iter(())),
            )
            findings.append(finding)
    if findings:
        yield ObjectResult(str(subject), place, subject, True, (), 0, (), tuple(findings))
