"""Reviews for the tests of reports: a real one of files, and synthetic ones of any size."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from policies.config import Policy
from policies.documents.pointer import ROOT
from policies.model import Severity
from tests.support.reviews import FINDING, results
from webhook.manifests.read import UnreadableManifest
from webhook.manifests.source_text import SourceText
from webhook.offline import offline_reviewer
from webhook.review.finding import Level, Place, ReviewFinding, Subject, SuppressedBy, Suppression
from webhook.review.results import ObjectResult, Results
from webhook.review.run import ReadSources, ReviewBasis, review_manifests
from webhook.settings import Settings

CLUSTER = """\
apiVersion: ray.io/v1
kind: RayCluster
metadata: {name: train, namespace: ml}
spec:
  rayVersion: "2.58.0"
  authOptions: {mode: token}
  headGroupSpec:
    serviceType: LoadBalancer
    rayStartParams: {}
    template:
      spec:
        containers:
          - name: ray-head
            image: rayproject/ray:2.58.0
            env:
              - name: WANDB_API_KEY
                value: local-5f2b9c71
            securityContext: {privileged: true}
          - name: logs
            image: rayproject/ray:2.58.0
            securityContext: {privileged: true}
"""
# Names and values of untrusted manifests that formats could take for their own syntax.
HOSTILE = (
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b]8;;http://evil\x07\u202e",
    "a | b `c` **d** [e](http://evil) ![f](http://evil) @team #1 !2 GH-3 http://evil www.evil.org",
    "</code></details> --- \n# title\n<img src=x onerror=alert(1)>\r\n\\| \\\\| {{ 7*7 }} &lt;b>",
    "\ud800 \udcff ]]> <!-- --> '\"",
    "x" * 1_000_000,
)

_HOSTILE_LINE = "a\x00\x1b[31m\r\n::error::b%0A, c: \udc80\ufffe]] > ]]><x> [a](b) {0}"


def reviewed(*names: str, exemptions: Sequence[Mapping[str, object]] = ()) -> Results:
    """The review of files."""
    profiles = {"enforce": "baseline", "warn": "baseline"}
    policy = Policy.parse({"profiles": profiles, "exemptions": list(exemptions)})
    new_reviewer = partial(offline_reviewer, Settings(), policy)
    return review_manifests(ReadSources.of(names), ReviewBasis(new_reviewer)).results


def sample(folder: Path) -> Results:
    """The review of a folder, which is the working folder: findings, exemptions, a broken file."""
    (folder / "deploy").mkdir()
    (folder / "deploy/train.yaml").write_text(CLUSTER)
    (folder / "deploy/other.yaml").write_text(
        CLUSTER.replace("name: train", "name: other").replace("LoadBalancer", "ClusterIP")
    )
    (folder / "broken.yaml").write_text("a: [1")
    exemption = {
        "reason": "the load balancer is internal",
        "rules": ["no-public-head-service"],
        "namespaces": ["ml"],
        "names": ["train"],
    }
    return reviewed(
        "deploy/train.yaml", "deploy/other.yaml", "broken.yaml", exemptions=(exemption,)
    )


def everything_hostile() -> Results:
    """A finding, a note and an unreadable file, all of hostile names."""
    finding = replace(
        FINDING,
        message=_HOSTILE_LINE,
        remediation=_HOSTILE_LINE,
        place=Place(f"/repository/{_HOSTILE_LINE}", 1, 1),
        subject=replace(FINDING.subject, name=_HOSTILE_LINE),
    )
    broken = UnreadableManifest(_HOSTILE_LINE, _HOSTILE_LINE)
    return results(finding, notes=[_HOSTILE_LINE], unreadable=[broken])


def synthetic(number: int, text: str = "plain", distinct: bool = False) -> Results:
    """A review with findings whose texts an attacker chose."""
    subject = Subject("RayCluster", text, text)
    content = "\n".join(f"line {line}: {text[:200]}" for line in range(1, 100))
    source = SourceText(text[:200] or "file", content.encode(errors="replace"))
    findings = [_finding(n, text, source.name, subject) for n in range(number)]
    if distinct:
        findings = [replace(one, remediation=one.message) for one in findings]
    result = ObjectResult(
        source=source.name,
        place=Place(source.name, 1, 1),
        subject=subject,
        allowed=False,
        mutations=("ray-tls",),
        operations=1,
        notes=(text,),
        findings=tuple(findings),
    )
    return Results(
        objects=[result],
        unreadable=[UnreadableManifest(text, text)],
        notes=[text],
        texts={source.name: source},
    )


def _finding(n: int, text: str, file: str, subject: Subject) -> ReviewFinding:
    """The finding with this number; every second is in a derived object, every tenth suppressed."""
    derived = Subject("Pod", text, text) if n % 2 else None
    suppression = Suppression(SuppressedBy.COMMENT, text) if n % 10 == 9 else None
    return ReviewFinding(
        rule=f"rule-{n % 5}",
        level=tuple(Level)[n % 3],
        severity=Severity.HIGH,
        message=f"{n} {text}",
        remediation=text,
        pointer=ROOT / "spec" / text,
        place=Place(file, n % 90 + 1, 3),
        subject=subject,
        fingerprint=str(n),
        derived=derived,
        suppression=suppression,
    )
