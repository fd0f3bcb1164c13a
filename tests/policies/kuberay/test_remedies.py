"""What RayWarden proposes and writes is accepted by the KubeRay at hand."""

from pathlib import Path

import pytest

from policies.documents.untrusted_yaml import load_all
from policies.ray.workload import Kind
from policies.registry import RULES
from policies.remedies.edits import carried_out
from tests.policies.kuberay.judging import RELEASES, by_kuberay, everything, in_fields, operator
from tests.policies.rules.test_fixes import literal_edits
from tests.policies.rules.test_rules import ALL, admitted, load
from tests.support import factory
from webhook.commands.rule_examples import Example

_BASES = ("raycluster", "rayjob", "rayservice", "raycronjob")
# Their remedies are for another object of the cluster, or for KubeRay itself.
_OWN = "kuberay-accepts"
DENIED = [file for file in ALL if file.parent.name == "denied" and load(file).base in _BASES]


def is_there(base: str, version: str) -> bool:
    return (base, version) != ("raycronjob", "1.5")


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("file", DENIED, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")
def test_a_remediation_is_accepted_or_names_the_version(file: Path, version: str) -> None:
    rule, fixture = file.parent.parent.name, load(file)
    if rule == _OWN or not is_there(fixture.base, version):
        return
    document, admit = admitted(fixture, operator=operator(version))
    stored, verdict = admit(document)
    edits = literal_edits(rule, verdict.denied, stored) or []
    before, after = everything(stored, version), everything(carried_out(stored, edits), version)
    added = [message for message in after if message not in before]
    named = " ".join(found.remediation for found in verdict.denied if found.rule == rule)
    assert not added or "KubeRay" in named, (added, named)


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("base", _BASES)
@pytest.mark.parametrize("inject", [{}, {"auth": "token"}, {"auth": "kubernetes"}], ids=str)
def test_what_raywarden_writes_is_accepted(base: str, inject: factory.Object, version: str) -> None:
    if not is_there(base, version):
        return
    document = factory.MINIMAL[base]()
    reviewer = factory.reviewer({"inject": inject}, operator=operator(version))
    for networks in ({}, {"/spec/networkPolicy": {"mode": "DenyAll"}}):
        if networks and (base != "raycluster" or version != "1.7"):
            continue
        sent = factory.changed(document, {"/spec/authOptions": None, **networks})
        mutated = dict(reviewer.mutated(factory.request(sent)).document)
        gates = "RayClusterNetworkPolicy=true,RayCronJob=true"
        assert everything(mutated, version, gates) == []


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_the_fixed_examples_are_accepted(rule: str, version: str) -> None:
    for document in load_all(Example.of(rule).fixed):
        if Kind.of(document).group == "ray.io":
            assert everything(document, version) == []


FIXED = [
    file for file in DENIED if file.parent.parent.name == _OWN and load(file).related_objects == ()
]


@pytest.mark.parametrize("file", FIXED, ids=lambda file: file.stem)
def test_its_own_remediation_is_enough(file: Path) -> None:
    document, admit = admitted(load(file))
    stored, verdict = admit(document)
    own = [violation for violation in verdict.warned if violation.rule == _OWN]
    assert own
    edits = literal_edits(_OWN, own, stored)
    if edits is None:
        assert not any(violation.remediation.startswith("set ") for violation in own)
        return
    fixed = carried_out(stored, edits)
    assert by_kuberay(fixed) == []
    assert in_fields(fixed) == []
