"""No object that a rule refuses becomes allowed in another spelling, order, List or kind.

The objects are the denied fixtures and the refused examples of all rules.
"""

import copy
from functools import cache
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untrusted_yaml import load_all
from policies.model import Violation
from policies.ray.kuberay import copies_metadata
from policies.ray.workload import Workload
from policies.registry import RULES
from tests.bypasses import disguises
from tests.policies.rules.test_rules import ALL, ONLY_WARNING, Admit, Fixture, admitted, load
from tests.support import factory, registration
from tests.support.factory import Object
from webhook.admission.reviewer import Reviewer
from webhook.commands.rule_examples import Example
from webhook.manifests.dry_run import ReviewedManifest, review_manifest
from webhook.manifests.read import Manifest, objects
from webhook.settings import Settings

# It protects nobody: what KubeRay refuses never runs. Its findings are about an object's own name.
_NO_PROTECTION = "kuberay-accepts"
_DENIED = {
    f"{file.parent.parent.name}/{file.stem}": file
    for file in ALL
    if file.parent.name == "denied" and file.parent.parent.name != _NO_PROTECTION
}
_RULES = [rule.id for rule in RULES if rule.id != _NO_PROTECTION]
_TEMPLATES = ("template", "submitterPodTemplate")
_GROUPS = {
    "head": "/spec/headGroupSpec/template",
    "worker": "/spec/workerGroupSpecs/0/template",
}
# Every place of a pod in a workload: the root, a template, and a template of a template.
_SHAPES = ("Pod", "Deployment", "CronJob")

# Fixtures that one disguise makes harmless, and why.
_OTHER_BLANKS = {
    "start-command-intact/ray-start-in-a-comment": "KubeRay looks for `ray start` with one blank "
    "(`BuildPod`), so with more it adds its own command; what is left is an obfuscated command",
}
# What a rule finds only in objects of KubeRay: the rule, a part of its message, and why.
_OTHER_MAKERS = [
    ("auth-on", "that authOptions turns on", "only a RayCluster has authOptions to contradict"),
    ("no-opt-out", "the template of the", "a Pod may opt out where the policy lets whole objects"),
    (
        "reserved-names",
        "sets the label raywarden.io/role",
        "pods without KubeRay opt in with these labels",
    ),
    ("start-command-intact", "ray start", "without KubeRay, a pod runs its own `ray start`"),
    ("tls-on", "sets RAY_", "`baseline` accepts plain Ray without KubeRay and its labels"),
]


@cache
def fixture(name: str) -> Fixture:
    return load(_DENIED[name])


def of_rule(rule: str) -> list[str]:
    return [name for name in _DENIED if name.startswith(f"{rule}/")]


def rule_of(name: str) -> str:
    return name.partition("/")[0]


def contains_any(text: str, parts: list[str]) -> bool:
    return any(part in text for part in parts)


def refusing(admit: Admit, document: Object) -> set[str]:
    verdict = admit(document)[1]
    return {violation.rule for violation in verdict.denied} | _only_warning(verdict.warned)


def _only_warning(warned: tuple[Violation, ...]) -> set[str]:
    """The rules that warn because they never refuse."""
    return {violation.rule for violation in warned} & ONLY_WARNING


def denied_fixtures() -> st.SearchStrategy[str]:
    return st.sampled_from(sorted(_DENIED))


@given(denied_fixtures(), st.data())
def test_a_field_by_another_name_counts_as_absent(name: str, data: st.DataObject) -> None:
    document, admit = admitted(fixture(name))
    place = data.draw(st.sampled_from(disguises.fields(document)))
    other = data.draw(st.sampled_from(disguises.respelled(str(place[-1]))))
    absent = refusing(admit, disguises.without(document, place))
    assert refusing(admit, disguises.renamed(document, place, other)) >= absent


@given(denied_fixtures(), st.data())
def test_a_field_by_another_name_changes_nothing(name: str, data: st.DataObject) -> None:
    document, admit = admitted(fixture(name))
    place = data.draw(st.sampled_from(disguises.fields(document)))
    other = data.draw(st.sampled_from(disguises.respelled(str(place[-1]))))
    values = [disguises.at(document, place), None, "", {}, [], False, True]
    value = copy.deepcopy(data.draw(st.sampled_from(values)))
    assert rule_of(name) in refusing(admit, disguises.with_decoy(document, place, other, value))


@given(denied_fixtures(), st.randoms())
def test_the_order_changes_nothing(name: str, random: Random) -> None:
    document, admit = admitted(fixture(name))
    assert rule_of(name) in refusing(admit, disguises.reordered(document, random))


@given(denied_fixtures(), st.sampled_from(["v1", "v1alpha1", "v1beta1", "v2"]))
def test_the_version_changes_nothing(name: str, version: str) -> None:
    document, admit = admitted(fixture(name))
    group, slash, _ = document["apiVersion"].rpartition("/")
    assert rule_of(name) in refusing(admit, document | {"apiVersion": f"{group}{slash}{version}"})


@pytest.mark.parametrize("rule", _RULES)
def test_blanks_change_nothing(rule: str) -> None:
    allowed = set()
    for name in of_rule(rule):
        document, admit = admitted(fixture(name))
        spaced = disguises.spaced(document)
        # Another rule may refuse the blanks themselves.
        if spaced != document and not refusing(admit, spaced):
            allowed.add(name)
    assert allowed == {name for name in _OTHER_BLANKS if rule_of(name) == rule}


@pytest.mark.parametrize("rule", _RULES)
def test_letters_that_are_not_read_change_nothing(rule: str) -> None:
    for name in of_rule(rule):
        document, admit = admitted(fixture(name))
        relettered = disguises.relettered(document)
        assert relettered == document or rule in refusing(admit, relettered), name


@given(st.lists(denied_fixtures(), min_size=1, max_size=3), st.data())
def test_a_list_holds_the_same_objects(names: list[str], data: st.DataObject) -> None:
    documents = [admitted(fixture(name))[0] for name in names]
    lists = documents
    for _ in range(data.draw(st.integers(0, 2))):
        lists = [disguises.in_a_list(data.draw(st.sampled_from(["List", "RayClusterList"])), lists)]
    text = data.draw(st.sampled_from([disguises.as_yaml, disguises.as_json]))(lists)
    read = [item.document for item in objects("test", text.encode()) if isinstance(item, Manifest)]
    assert read == documents


@pytest.mark.parametrize("rule", _RULES)
def test_an_example_in_a_list_is_refused(rule: str) -> None:
    example = Example.of(rule)
    documents = list(load_all(example.refused))
    for items in (documents, documents[::-1]):
        text = disguises.as_json([disguises.in_a_list("List", items)])
        assert rule in refused_by(example.review(text, Settings()))


def refused_by(reviewed: list[ReviewedManifest]) -> set[str]:
    outcomes = [outcome for item in reviewed for outcome in (item.outcome, *item.derived)]
    rules = {violation.rule for outcome in outcomes for violation in outcome.denied}
    return rules.union(*(_only_warning(outcome.warned) for outcome in outcomes))


@pytest.mark.parametrize("rule", _RULES)
@pytest.mark.parametrize("kind", disguises.KUBERAY_KINDS)
def test_a_cluster_that_kuberay_makes_is_refused(rule: str, kind: str) -> None:
    for name in of_rule(rule):
        if is_a_new(name, "raycluster") and not names_an_object(name):
            document, _ = admitted(fixture(name))
            holder = disguises.from_kuberay(kind, document)
            copied = not {"labels", "annotations"}.isdisjoint(document["metadata"])
            if copies_metadata(Workload(kind, holder)) or not copied:
                assert rule in refusing_with_derived(name, holder), name


@pytest.mark.parametrize("rule", _RULES)
def test_a_job_that_a_cron_job_makes_is_refused(rule: str) -> None:
    for name in of_rule(rule):
        if is_a_new(name, "rayjob") and not names_an_object(name):
            document, _ = admitted(fixture(name))
            assert rule in refusing_with_derived(name, disguises.in_a_cron_job(document)), name


def is_a_new(name: str, base: str) -> bool:
    return fixture(name).base == base and fixture(name).before is None


def names_an_object(name: str) -> bool:
    """Another object names this one, and KubeRay gives what it makes another name."""
    return bool(fixture(name).related_objects) or fixture(name).unknown_cluster


def reviewer_of(name: str) -> Reviewer:
    policy = {"profiles": {"enforce": fixture(name).enforce}, **fixture(name).policy}
    if fixture(name).unknown_cluster:
        return factory.ignorant_reviewer(policy)
    return factory.reviewer(policy, *fixture(name).related_objects)


def refusing_with_derived(name: str, document: Object) -> set[str]:
    reviewed = review_manifest(reviewer_of(name), Manifest("test", 1, document), "team-a")
    return refused_by([reviewed] if reviewed else [])


@pytest.mark.parametrize("rule", _RULES)
def test_a_template_is_refused_in_every_workload(rule: str) -> None:
    """Each template of a KubeRay object in which a rule finds something, made Ray's by itself."""
    allowed = set()
    for name in of_rule(rule):
        for template, role in refused_templates(name):
            for ray in disguises.as_ray(template, role):
                for kind in _SHAPES:
                    if rule not in refusing_bare(name, disguises.from_template(kind, ray)):
                        allowed.add(name)
    parts = [part for finder, part, _ in _OTHER_MAKERS if finder == rule]
    messages = {name: fixture(name).message for name in allowed}
    unexplained = [name for name in allowed if not contains_any(messages[name], parts)]
    everything = "\n".join(messages.values())
    unneeded = [part for part in parts if part not in everything]
    assert (unexplained, unneeded) == ([], [])


@pytest.mark.parametrize("kind", disguises.WORKLOADS)
def test_all_workloads_are_alike(kind: str) -> None:
    name = "no-host-access/hostnetwork"
    for template, role in refused_templates(name):
        for ray in disguises.as_ray(template, role):
            workload = disguises.from_template(kind, ray)
            assert rule_of(name) in refusing_bare(name, workload)


def refused_templates(name: str) -> list[tuple[Object, str]]:
    """The templates in which the rule of a fixture finds something, each with its role."""
    if fixture(name).before is not None or not fixture(name).base.startswith("ray"):
        return []
    document, admit = admitted(fixture(name))
    found = {
        template_of(violation.pointer)
        for violation in admit(document)[1].denied
        if violation.rule == rule_of(name)
    }
    templates = [(place.read(document), role_of(place)) for place in found - {ROOT}]
    # The rest of the object may be a part of what the rule finds.
    return [template for template in templates if is_refused_alone(name, *template)]


def is_refused_alone(name: str, template: Object | None, role: str) -> bool:
    """The rule refuses an object that is minimal but for this template."""
    # A job without a template gets one from KubeRay, and without containers there is no pod.
    if not template or not template.get("spec", {}).get("containers"):
        return False
    if role == "client":
        document = factory.ray_job(submitterPodTemplate=template)
    else:
        document = factory.changed(factory.ray_cluster(), {_GROUPS[role]: template})
    return rule_of(name) in refusing_with_derived(name, document)


def template_of(pointer: Pointer) -> Pointer:
    """The template that holds a place; the root if none does."""
    for index, token in enumerate(pointer[:-1]):
        if token in _TEMPLATES:
            return Pointer(pointer[: index + 1])
    return ROOT


def role_of(place: Pointer) -> str:
    if "submitterPodTemplate" in place:
        return "client"
    return "head" if "headGroupSpec" in place else "worker"


def refusing_bare(name: str, workload: Object) -> set[str]:
    """The rules that refuse a workload as it was sent, because only pods get defaults."""
    request = factory.request(workload)
    denied = reviewer_of(name).verdict(request).denied
    # RayWarden can refuse only what the API server sends to it.
    assert not denied or registration.reaches("validate", request)
    return {violation.rule for violation in denied}
