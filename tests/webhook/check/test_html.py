"""The HTML page of `raywarden check`: what it says, and that no name in a cluster can change it."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import live_objects
from tests.support.factory import changed
from tests.support.fake_kube_api import FakeKubeApi
from tests.support.html_page import Page
from tests.support.kube_conversation import free_port, kubeconfig_for, listening
from tests.support.paths import REPOSITORY
from tests.webhook.check import healthy_installation
from tests.webhook.check.faults import Fault, both, forbidden, put, validating
from tests.webhook.check.healthy_installation import HOME, deployment, namespace, policy
from tests.webhook.check.kuberay_faults import BARE_POD
from tests.webhook.reports.reviews import HOSTILE
from webhook import __version__
from webhook.check.collect import Inspection
from webhook.check.facts import CheckFacts, Unavailable
from webhook.check.findings import Finding, Section, Status, failed, note, unknown, warning
from webhook.check.html import html
from webhook.check.meanings import meaning_of
from webhook.check.report import run_checks
from webhook.kube.api import KubeApi

GOLDEN = REPOSITORY / "tests/webhook/check/golden/weak.html"
WEAK_POLICY = """
kind: Policy
namespacesMayLoosen: true
rules: {no-privileged: {mode: warn}}
exemptions:
- {rules: [no-host-path], namespaces: [team-a], reason: shared disk}
- {rules: [no-root], names: [old-*], reason: legacy image, until: 2026-10-31}
"""
OPTED_OUT = changed(
    live_objects.ray_cluster("opted-out"),
    {"/metadata/annotations": {"raywarden.io/inject": "false"}, "/spec": {}},
)
WEAK = both(
    put("deployments", changed(deployment(), {"/spec/replicas": 1, "/status/readyReplicas": 0})),
    validating(timeoutSeconds=30, failurePolicy="Ignore"),
    put("configmaps", policy(WEAK_POLICY)),
    put("namespaces", namespace("team-b", **{"raywarden.io/enforce": "privileged"})),
    put("rayclusters", OPTED_OUT),
    put("pods", BARE_POD),
    put("pods", changed(BARE_POD, {"/metadata/name": "bare-too"})),
    forbidden("get", "secrets"),
)


def facts_of(folder: Path, *faults: Fault) -> CheckFacts:
    """What an installation with these faults answers."""

    async def main() -> CheckFacts:
        fake = FakeKubeApi(free_port())
        healthy_installation.install(fake)
        both(*faults)(fake)
        async with listening(fake), await KubeApi.connect(kubeconfig_for(fake, folder)) as api:
            return await Inspection(api, HOME, lambda: live_objects.NOW).facts()

    return asyncio.run(main())


def page_of(sections: Sequence[Section], facts: CheckFacts) -> Page:
    page = Page(html(sections, facts))
    assert page.unbalanced == [] and page.open == []
    return page


def test_the_page_of_a_weak_installation_is_the_golden_file(
    tmp_path: Path, rewrite_golden: bool
) -> None:
    facts = facts_of(tmp_path, WEAK)
    source = html(run_checks(facts), facts)
    Page(source).check_self_contained()
    Page(source).check_structure()
    # Changes of the style, the script and the version are no changes of the page.
    source = re.sub(r"(?s)(<(style|script)>).*?(</\2>)", r"\1\3", source)
    source = re.sub(r"sha256-[^&]+", "sha256-", source).replace(__version__, "VERSION")
    if rewrite_golden:
        GOLDEN.write_text(source)
    assert source == GOLDEN.read_text(), "run make golden, and read the difference"


def test_a_healthy_installation_has_no_findings(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    page = page_of(run_checks(facts), facts)
    assert "RayWarden works, and nothing is weak" in page.text
    assert "There are no findings." in page.text and "What to do first" not in page.text
    assert page.all("article") == []


def test_untrusted_text_adds_no_element_and_no_attribute(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)

    def page(text: str) -> Page:
        findings = [Finding("pods", status, text, text) for status in Status]
        version = replace(facts, server_version={"gitVersion": text})
        return page_of([Section("coverage", tuple(findings)), Section(text, ())], version)

    plain = page("plain")
    shape = [(tag, sorted(attributes)) for tag, attributes in plain.elements]
    for text in HOSTILE:
        hostile = page(text)
        assert [(tag, sorted(own)) for tag, own in hostile.elements] == shape
        assert hostile.own == plain.own
        assert all(str(link["href"]).startswith("#") for link in hostile.all("a"))
        assert "".join(hostile.text.split()).isprintable()
        assert len(hostile.text) < 20_000


def test_equal_problems_of_many_objects_share_an_entry_of_bounded_size(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    findings = [failed("pods", f"pod {number} has none", "delete it") for number in range(5_000)]
    page = page_of([Section("coverage", tuple(findings))], facts)
    assert len(page.all("article")) == 1
    assert "Pods without certificates (5000)" in page.text
    assert "4900 more are left out" in page.text


@pytest.mark.parametrize(
    ("findings", "verdict"),
    [
        ([failed("a", "x", "y")], "1 check has failed"),
        ([failed("a", "x", "y"), warning("a", "x", "y")], "1 check has failed, and 1 warning"),
        ([warning("a", "x", "y")] * 2, "RayWarden works, with 2 warnings"),
        ([unknown("a", "x", Unavailable("y", "z"))], "Nothing that could be checked is wrong"),
        ([note("a", "x", "y")], "RayWarden works, and nothing is weak"),
    ],
)
def test_the_title_is_the_verdict(tmp_path: Path, findings: list[Finding], verdict: str) -> None:
    page = page_of([Section("probe a/b", tuple(findings))], facts_of(tmp_path))
    assert f"RayWarden check: {verdict}" in page.text


def test_every_check_of_a_section_has_a_meaning_of_its_own(tmp_path: Path) -> None:
    facts = facts_of(tmp_path)
    found = [
        (section.title, finding.id) for section in run_checks(facts) for finding in section.findings
    ]
    titles = [meaning_of(section, id).title for section, id in found]
    assert len(set(titles)) == len(set(found)) > 35
