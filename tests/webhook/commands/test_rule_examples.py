"""The examples of the rules: each teaches one thing, and `raywarden rules explain` shows it."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from policies.model import Violation
from policies.registry import RULES
from tests.webhook.admission.test_captures import crd
from tests.webhook.commands.test_cli import run
from webhook.commands.rule_examples import Example
from webhook.commands.rule_explain import explain
from webhook.manifests.dry_run import ReviewedObject
from webhook.manifests.read import Manifest, objects
from webhook.settings import Settings

# More changes than this would hide the one thing that an example teaches.
_MAX_CHANGES = 15
_WORD = re.compile(r"[\w./-]{4,}")
_ONLY_WARNING = {rule.id for rule in RULES if rule.only_warns}
_each = pytest.mark.parametrize("rule", [rule.id for rule in RULES])


def outcomes(example: Example, manifest: str, *, complete: bool = True) -> list[ReviewedObject]:
    objects_of: list[ReviewedObject] = []
    for reviewed in example.review(manifest, Settings(), complete=complete):
        objects_of += [reviewed.outcome, *reviewed.derived]
    return objects_of


def denied(rule: str) -> list[Violation]:
    example = Example.of(rule)
    violations: list[Violation] = []
    for outcome in outcomes(example, example.refused):
        violations += outcome.denied
        violations += outcome.warned if rule in _ONLY_WARNING else ()
    return violations


def documents() -> Iterator[Any]:
    for rule in RULES:
        example = Example.of(rule.id)
        for name, manifest in (("refused", example.refused), ("fixed", example.fixed)):
            for item in objects(rule.id, manifest.encode()):
                assert isinstance(item, Manifest), item
                yield pytest.param(item.document, id=f"{rule.id}-{name}-{item.number}")


def changed_lines(rule: str) -> list[str]:
    return [line for line in Example.of(rule).difference() if line[0] in "+-"]


def test_every_example_belongs_to_a_rule() -> None:
    assert {folder.name for folder in (files("policies") / "examples").iterdir()} == {
        rule.id for rule in RULES
    }


@_each
def test_an_example_is_one_manifest_and_its_fix(rule: str) -> None:
    folder = files("policies") / "examples" / rule
    assert {file.name for file in folder.iterdir()} == {"refused.yaml", "fix.yaml"}


@_each
def test_only_its_own_rule_refuses_an_example(rule: str) -> None:
    example = Example.of(rule)
    reviewed = outcomes(example, example.refused)
    refusing = {violation.rule for outcome in reviewed for violation in outcome.denied}
    warning = {violation.rule for outcome in reviewed for violation in outcome.warned}
    only_warns = rule in _ONLY_WARNING
    assert (refusing, warning) == ((set(), {rule}) if only_warns else ({rule}, set()))


@_each
@pytest.mark.parametrize("complete", [True, False], ids=["in-a-cluster", "offline"])
def test_the_fixed_manifest_has_no_findings(rule: str, complete: bool) -> None:
    example = Example.of(rule)
    reviewed = outcomes(example, example.fixed, complete=complete)
    assert reviewed
    assert [
        violation for outcome in reviewed for violation in (*outcome.denied, *outcome.warned)
    ] == []
    assert [note for outcome in reviewed for note in outcome.notes] == []


@_each
def test_an_example_runs_with_every_version_of_kuberay(rule: str) -> None:
    """KubeRay rejects `spec.networkPolicy` unless an alpha feature gate is on."""
    example = Example.of(rule)
    assert "networkPolicy:" not in example.refused + example.fixed


@_each
def test_the_difference_is_small(rule: str) -> None:
    assert 0 < len(changed_lines(rule)) <= _MAX_CHANGES


@_each
def test_the_difference_applies_to_the_manifest_as_it_is_written(rule: str) -> None:
    """The manifest has the format of the dumper, so that every line of the diff stands in it."""
    example = Example.of(rule)
    lines = example.refused.splitlines()
    assert {line[1:] for line in changed_lines(rule) if line[0] == "-"} <= set(lines)
    without_comments = [line for line in lines if not line.startswith("#")]
    in_diff = [line[1:] for line in example.difference() if line[0] in " -"]
    assert set(in_diff) <= set(without_comments)


@_each
def test_comments_are_not_part_of_the_difference(rule: str) -> None:
    example = Example.of(rule)
    commented = Example(f"{example.refused}# A comment.\n", example.fixed)
    assert list(commented.difference()) == list(example.difference())


@_each
def test_the_fix_changes_what_the_remediation_names(rule: str) -> None:
    changed: set[str] = set()
    for line in changed_lines(rule):
        changed.update(_WORD.findall(line))
    assert all(changed & set(_WORD.findall(violation.remediation)) for violation in denied(rule))


@pytest.mark.parametrize("document", list(documents()))
def test_kubernetes_and_kuberay_accept_the_manifests(document: Any) -> None:
    if document["apiVersion"] == "ray.io/v1":
        jsonschema.validate(document, crd(document["kind"]))
    else:
        kubernetes_validate.validate(document, "1.37", strict=True)


@_each
def test_explain_gives_the_reason_and_the_messages_of_the_review(rule: str) -> None:
    example = Example.of(rule)
    (member,) = (member for member in RULES if member.id == rule)
    printed = "\n".join(line.plain for line in explain(member, example, Settings()))
    assert "\nWhy: " in printed and "\nFix: " in printed
    for violation in denied(rule):
        # Places are those in the manifest of the example, not in the object as it would be stored.
        assert f"{rule}: {violation.message} (at /" in printed
        assert f"           Fix: {violation.remediation}\n" in printed
    assert printed.endswith("\n".join(example.difference()))


def test_explain_prints_plain_text_without_a_terminal() -> None:
    ended = run("rules", "explain", "no-host-access")
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert "\n-          hostNetwork: true\n" in ended.stdout
    message = next(line for line in ended.stdout.splitlines() if line.startswith("  error"))
    assert message.endswith("(at /spec/workerGroupSpecs/0/template/spec/hostNetwork)"), (
        "a message is one line, so that it can be copied as one"
    )


def test_explain_names_parameters_with_type_and_default() -> None:
    printed = run("rules", "explain", "no-host-path").stdout
    assert (
        "  allowedPrefixes: []  (list of strings)\n"
        "      directories whose contents may be mounted read-only\n"
    ) in printed


def test_explain_shows_the_policy_that_an_example_needs() -> None:
    assert (
        '{registries: ["rayproject/*", "registry.example/*"]}'
        in run("rules", "explain", "trusted-images").stdout
    )


def test_explain_of_an_unknown_rule_names_the_nearest() -> None:
    ended = run("rules", "explain", "no-opn-ingress")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "raywarden: no rule is called no-opn-ingress; did you mean no-open-ingress?\n"
    )


@pytest.mark.parametrize(("show", "code"), [("refused", 1), ("fixed", 0)])
def test_each_manifest_can_be_printed_whole(show: str, code: int) -> None:
    manifest = run("rules", "explain", "no-privileged", "--show", show).stdout
    assert manifest == getattr(Example.of("no-privileged"), show)
    assert list(yaml.safe_load_all(manifest))
    assert run("review", "-", stdin=manifest).returncode == code
