"""What several formats say about a finding, in plain text."""

from webhook.review.finding import ReviewFinding


def headline(finding: ReviewFinding) -> str:
    """The message, and the object that KubeRay creates if the violation is in that one."""
    derived = finding.derived
    if derived is None:
        return finding.message
    return f"{finding.message} (in the {derived.kind} {derived.name} that KubeRay creates)"


def with_remedy(finding: ReviewFinding) -> str:
    """The message, and the remediation on a line of its own."""
    return f"{headline(finding)}\nFix: {finding.remediation}"
