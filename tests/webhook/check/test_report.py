"""`raywarden check` finds nothing wrong in a healthy installation, and every fault in others."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest
import yaml

from tests.support import live_objects
from tests.support.factory import changed, reviewer
from tests.support.fake_kube_api import FakeKubeApi, hangs_up
from tests.support.kube_conversation import conversation, free_port, kubeconfig_for, listening, talk
from tests.webhook.check import (
    admission_faults,
    healthy_installation,
    installation_faults,
    kuberay_faults,
    network_faults,
    policy_faults,
)
from tests.webhook.check.healthy_installation import (
    HOME,
    namespace,
    network_policies,
    pod,
    ray_cluster,
)
from tests.webhook.check.kuberay_faults import BARE_POD
from webhook.check.collect import Inspection
from webhook.check.dry_run import BARE_CLUSTER, FORGED_POD
from webhook.check.findings import Finding, Status
from webhook.check.meanings import meaning_of
from webhook.check.report import run_checks
from webhook.kube.api import KubeApi
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

OK, UNKNOWN, WARNING, FAILED = Status.OK, Status.UNKNOWN, Status.WARNING, Status.FAILED
Findings = Mapping[str, list[Finding]]
CASES = (
    installation_faults.CASES
    | admission_faults.CASES
    | kuberay_faults.CASES
    | network_faults.CASES
    | policy_faults.CASES
)


async def check(api: KubeApi, namespace: str = "", now: datetime = live_objects.NOW) -> Findings:
    """The findings of all sections, by `section/id`."""
    facts = await Inspection(api, HOME, lambda: now).facts(namespace)
    findings: dict[str, list[Finding]] = {}
    for section in run_checks(facts):
        for finding in section.findings:
            findings.setdefault(f"{section.title}/{finding.id}", []).append(finding)
    return findings


def flat(findings: Findings) -> list[Finding]:
    return [finding for same_id in findings.values() for finding in same_id]


def problems(findings: Findings) -> list[Finding]:
    return [finding for finding in flat(findings) if finding.status is not OK]


@conversation
async def test_a_healthy_installation_has_no_problems(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.install(fake)
    before = dict(fake.objects)
    findings = await check(api)
    assert problems(findings) == []
    assert len(findings) == 40
    assert fake.objects == before
    writes = [
        request
        for request in fake.seen
        if request.method != "GET" and not request.raw_path.endswith("accessreviews")
    ]
    queries = [request.query for request in writes]
    assert queries == [{"dryRun": "All"}] * 2, "nothing is created for real"


@pytest.mark.parametrize("name", CASES)
def test_every_fault_is_found(tmp_path: Path, name: str) -> None:
    case = CASES[name]

    async def main() -> None:
        fake = FakeKubeApi(free_port())
        healthy_installation.install(fake)
        case.fault(fake)
        async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            findings = await check(api, now=case.now)
        expected = findings[case.finding]
        assert [finding.status for finding in expected] == [case.status]
        assert case.text in f"{expected[0].message} {expected[0].remediation}"
        for name_of_check in findings:
            section, _, id = name_of_check.partition("/")
            assert meaning_of(section, id).text
        for finding in flat(findings):
            assert bool(finding.remediation) is (finding.status is not OK), finding

    talk(main())


@conversation
async def test_unusual_but_valid_objects_are_not_problems(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.install(fake)
    fake.put("namespaces", namespace("team-a", **{"raywarden.io/enforce": "privileged"}))
    fake.put(
        "rayclusters",
        changed(ray_cluster("theirs", other="x"), {"/spec/tlsOptions": {"enabled": True}}),
    )
    for document in network_policies("theirs"):
        fake.put("networkpolicies", document)
    fake.put("pods", changed(BARE_POD, {"/metadata/name": "ended", "/status/phase": "Succeeded"}))
    job = {"apiVersion": "batch/v1", "kind": "Job", "name": "cleanup", "controller": True}
    of_a_job = {"/spec/initContainers": [], "/metadata/ownerReferences": [job]}
    fake.put("pods", changed(pod("cleanup", "redis-cleanup"), of_a_job))
    own_certificate = {
        "/metadata/annotations": {"raywarden.io/tls-secret": "mine"},
        "/metadata/name": "brought",
    }
    fake.put("pods", changed(BARE_POD, own_certificate))
    assert problems(await check(api)) == []


@conversation
async def test_a_caller_without_permissions_learns_which_ones_to_ask_for(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.install(fake)
    plurals = {plural for plural, _, _ in fake.objects}
    plurals |= {"subjectaccessreviews", "rayjobs", "rayservices", "raycronjobs"}
    for verb in ("get", "list", "create"):
        fake.forbidden |= {(verb, plural) for plural in plurals}
    findings = await check(api)
    assert {finding.status for finding in problems(findings)} == {UNKNOWN}
    for finding in problems(findings):
        assert (
            "kubectl auth can-i" in finding.remediation
            or "fix the Deployment" in finding.remediation
        )


@conversation
async def test_a_rejection_is_recognized_without_access_to_webhook_configurations(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.install(fake)
    fake.forbidden = {
        ("get", f"{kind}webhookconfigurations") for kind in ("mutating", "validating")
    }
    findings = await check(api)
    assert findings["admission/rejects-forged-pod"][0].status is OK


@conversation
async def test_dry_runs_prove_nothing_in_a_namespace_that_webhooks_skip(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.install(fake)
    fake.put("namespaces", namespace("kube-system"))
    findings = await check(api, "kube-system")
    for id in ("rejects-forged-pod", "completes-ray-cluster"):
        (finding,) = findings[f"admission/{id}"]
        assert finding.status is UNKNOWN and "--namespace" in finding.remediation
    posted = [request.raw_path for request in fake.seen if request.query]
    assert "/api/v1/namespaces/kube-system/pods" in posted


@conversation
async def test_a_broken_connection_makes_only_that_check_unknown(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.install(fake)
    fake.dry_runs["pods"] = hangs_up
    (finding,) = (await check(api))["admission/rejects-forged-pod"]
    assert finding.status is UNKNOWN and "the connection to the API server broke" in finding.message


@pytest.mark.parametrize("enforce", ["baseline", "restricted"])
def test_the_rules_reject_and_complete_the_objects_of_the_dry_runs(enforce: str) -> None:
    admission = reviewer({"profiles": {"enforce": enforce}})
    forged = review_manifest(admission, Manifest("pod", 0, dict(FORGED_POD)), "team-a")
    assert forged
    denied = {violation.rule for violation in forged.outcome.denied}
    assert "operator-made-pods" in denied
    bare = review_manifest(admission, Manifest("cluster", 0, dict(BARE_CLUSTER)), "team-a")
    assert bare
    assert bare.outcome.document["metadata"]["labels"]["raywarden.io/tls"] == "managed"
    # The profile `restricted` may miss objects in the namespace, but finds nothing in the cluster.
    missing_in_namespace = {"network-policy-present", "namespace-quota"}
    allowed = missing_in_namespace if enforce == "restricted" else set()
    assert {violation.rule for violation in bare.outcome.denied} <= allowed


@conversation
async def test_everything_that_kubernetes_tokens_lack_is_said_at_once(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.install(fake)
    lacking = [("create", "tokenreviews"), ("ray:write", "rayclusters")]
    kuberay_faults.kubernetes_tokens(*lacking)(fake)
    found = (await check(api))["kuberay/token-reviews"]
    assert [finding.status for finding in found] == [WARNING, WARNING]
    printed = [yaml.safe_load(item.remediation.removeprefix("apply ")) for item in found]
    assert [item["kind"] for item in printed] == ["ClusterRoleBinding", "List"]
