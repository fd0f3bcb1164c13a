"""What `raywarden check` finds in an installation that is sound, and in those that are not."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import pytest

from tests.support import live_objects
from tests.support.factory import changed, reviewer
from tests.support.fake_kube_api import FakeKubeApi, hangs_up
from tests.support.kube_conversation import conversation, free_port, kubeconfig_for, listening, talk
from tests.webhook.check import cluster_faults, healthy_installation, installation_faults
from tests.webhook.check.cluster_faults import BARE_POD
from tests.webhook.check.healthy_installation import HOME, namespace, pod, ray_cluster
from webhook.check.collect import Inspection
from webhook.check.dry_run import BARE_CLUSTER, FORGED_POD
from webhook.check.findings import Finding, Status
from webhook.check.report import judge
from webhook.kube.api import KubeApi
from webhook.manifests.dry_run import review_manifest
from webhook.manifests.read import Manifest

OK, UNKNOWN, WARNING, FAILED = Status.OK, Status.UNKNOWN, Status.WARNING, Status.FAILED
Found = Mapping[str, list[Finding]]
CASES = installation_faults.CASES | cluster_faults.CASES


async def look(api: KubeApi, namespace: str = "", now: datetime = live_objects.NOW) -> Found:
    """The findings of all sections, by section and id."""
    facts = await Inspection(api, HOME, lambda: now).facts(namespace)
    found: dict[str, list[Finding]] = {}
    for section in judge(facts):
        for finding in section.findings:
            found.setdefault(f"{section.title}/{finding.id}", []).append(finding)
    return found


def bad(found: Found) -> list[Finding]:
    return [
        finding for findings in found.values() for finding in findings if finding.status is not OK
    ]


@conversation
async def test_a_sound_installation_has_nothing_to_mend(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.furnish(fake)
    before = dict(fake.objects)
    found = await look(api)
    assert bad(found) == []
    assert len(found) == 31
    assert fake.objects == before
    written = [
        seen
        for seen in fake.seen
        if seen.method != "GET" and not seen.raw_path.endswith("accessreviews")
    ]
    assert [seen.query for seen in written] == [{"dryRun": "All"}] * 2, (
        "nothing is created for real"
    )


@pytest.mark.parametrize("name", CASES)
def test_what_is_not_sound_is_found(tmp_path: Path, name: str) -> None:
    wanted = CASES[name]

    async def main() -> None:
        fake = FakeKubeApi(free_port())
        healthy_installation.furnish(fake)
        wanted.spoil(fake)
        async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, tmp_path)) as api:
            found = await look(api, now=wanted.now)
        findings = found[wanted.finding]
        assert [finding.status for finding in findings] == [wanted.status]
        assert wanted.words in f"{findings[0].message} {findings[0].remediation}"
        assert all(
            bool(finding.remediation) is (finding.status is not OK)
            for listed in found.values()
            for finding in listed
        )

    talk(main())


@conversation
async def test_what_is_right_as_it_is_is_left_alone(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.furnish(fake)
    fake.put("namespaces", namespace("team-a", **{"raywarden.io/enforce": "privileged"}))
    fake.put(
        "rayclusters",
        changed(ray_cluster("theirs", other="x"), {"/spec/tlsOptions": {"enabled": True}}),
    )
    fake.put("pods", changed(BARE_POD, {"/metadata/name": "ended", "/status/phase": "Succeeded"}))
    fake.put("pods", changed(pod("cleanup", "redis-cleanup"), {"/spec/initContainers": []}))
    own = {
        "/metadata/annotations": {"raywarden.io/tls-secret": "mine"},
        "/metadata/name": "brought",
    }
    fake.put("pods", changed(BARE_POD, own))
    assert bad(await look(api)) == []


@conversation
async def test_who_may_nothing_is_told_what_to_ask_for(fake: FakeKubeApi, api: KubeApi) -> None:
    healthy_installation.furnish(fake)
    plurals = {plural for plural, _, _ in fake.objects} | {
        "subjectaccessreviews",
        "rayjobs",
        "rayservices",
        "raycronjobs",
    }
    fake.forbidden = {(verb, plural) for verb in ("get", "list", "create") for plural in plurals}
    found = await look(api)
    assert {finding.status for finding in bad(found)} == {UNKNOWN}
    for findings in found.values():
        for finding in findings:
            assert (
                finding.status is OK
                or "kubectl auth can-i" in finding.remediation
                or "see to the Deployment" in finding.remediation
            )


@conversation
async def test_we_are_known_by_our_words_to_those_who_may_not_see_our_names(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.furnish(fake)
    fake.forbidden = {
        ("get", f"{kind}webhookconfigurations") for kind in ("mutating", "validating")
    }
    found = await look(api)
    assert found["admission/refuses"][0].status is OK


@conversation
async def test_a_namespace_that_is_not_looked_after_proves_nothing(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.furnish(fake)
    fake.put("namespaces", namespace("kube-system"))
    found = await look(api, "kube-system")
    for id in ("refuses", "completes"):
        (finding,) = found[f"admission/{id}"]
        assert finding.status is UNKNOWN and "--namespace" in finding.remediation
    posted = [seen.raw_path for seen in fake.seen if seen.query]
    assert "/api/v1/namespaces/kube-system/pods" in posted


@conversation
async def test_an_api_server_that_breaks_off_is_unknown_where_it_did(
    fake: FakeKubeApi, api: KubeApi
) -> None:
    healthy_installation.furnish(fake)
    fake.dry_runs["pods"] = hangs_up
    (finding,) = (await look(api))["admission/refuses"]
    assert finding.status is UNKNOWN and "the connection to the API server broke" in finding.message


@pytest.mark.parametrize("enforce", ["baseline", "restricted"])
def test_what_is_dry_run_is_refused_and_completed_by_our_own_server(enforce: str) -> None:
    judge = reviewer({"profiles": {"enforce": enforce}})
    forged = review_manifest(judge, Manifest("pod", 0, dict(FORGED_POD)), "team-a")
    assert forged and "operator-made-pods" in {
        violation.rule for violation in forged.outcome.denied
    }
    bare = review_manifest(judge, Manifest("cluster", 0, dict(BARE_CLUSTER)), "team-a")
    assert bare and bare.outcome.document["metadata"]["labels"]["raywarden.io/tls"] == "managed"
    # What a namespace of the strictest profile lacks is told; of the cluster itself nothing is in the way.
    around = {"network-policy-present", "namespace-quota"}
    assert {violation.rule for violation in bare.outcome.denied} <= (
        around if enforce == "restricted" else set()
    )
