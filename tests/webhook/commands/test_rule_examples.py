"""The examples shipped with the rules: each teaches one thing, and what `raywarden rules explain` says of it."""

import re
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

from policies.model import Violation
from policies.registry import RULES
from tests.webhook.admission.test_captures import crd
from tests.webhook.commands.test_cli import run
from webhook.commands.rule_examples import Example
from webhook.commands.rule_explain import explain
from webhook.manifests.dry_run import ReviewedObject
from webhook.manifests.read import Manifest, objects
from webhook.settings import Settings

_MOST_CHANGES = 15
_WORD = re.compile(r"[\w./-]{4,}")
_each = pytest.mark.parametrize("rule", [rule.id for rule in RULES])


def outcomes(example: Example, manifest: str, *, complete: bool = True) -> list[ReviewedObject]:
    examined = example.examined(manifest, Settings(), complete=complete)
    return [outcome for one in examined for outcome in (one.outcome, *one.derived)]


def denied(rule: str) -> list[Violation]:
    example = Example.of(rule)
    return [
        violation for outcome in outcomes(example, example.refused) for violation in outcome.denied
    ]


def documents() -> Iterator[Any]:
    for rule in RULES:
        example = Example.of(rule.id)
        for name, manifest in (("refused", example.refused), ("fixed", example.fixed)):
            for one in objects(rule.id, manifest.encode()):
                assert isinstance(one, Manifest), one
                yield pytest.param(one.document, id=f"{rule.id}-{name}-{one.number}")


def test_every_example_belongs_to_a_rule() -> None:
    assert {folder.name for folder in (files("policies") / "examples").iterdir()} == {
        rule.id for rule in RULES
    }


@_each
def test_what_is_refused_is_refused_by_its_rule_alone(rule: str) -> None:
    example = Example.of(rule)
    found = outcomes(example, example.refused)
    assert {violation.rule for outcome in found for violation in outcome.denied} == {rule}
    assert [violation for outcome in found for violation in outcome.warned] == []


@_each
@pytest.mark.parametrize("complete", [True, False], ids=["in-a-cluster", "offline"])
def test_what_is_mended_is_clean(rule: str, complete: bool) -> None:
    example = Example.of(rule)
    found = outcomes(example, example.fixed, complete=complete)
    assert found
    assert [
        violation for outcome in found for violation in (*outcome.denied, *outcome.warned)
    ] == []
    assert [note for outcome in found for note in outcome.notes] == []


@_each
def test_what_is_to_be_changed_is_little(rule: str) -> None:
    changes = [line for line in Example.of(rule).difference() if line[0] in "+-"]
    assert 0 < len(changes) <= _MOST_CHANGES


@_each
def test_the_fix_speaks_of_what_was_changed(rule: str) -> None:
    changed = {
        word
        for line in Example.of(rule).difference()
        if line[0] in "+-"
        for word in _WORD.findall(line)
    }
    assert all(changed & set(_WORD.findall(violation.remediation)) for violation in denied(rule))


@pytest.mark.parametrize("document", list(documents()))
def test_kubernetes_and_kuberay_take_them(document: Any) -> None:
    if document["apiVersion"] == "ray.io/v1":
        jsonschema.validate(document, crd(document["kind"]))
    else:
        kubernetes_validate.validate(document, "1.37", strict=True)


@_each
def test_explain_says_why_and_shows_the_messages_of_the_review(rule: str) -> None:
    example = Example.of(rule)
    (member,) = (member for member in RULES if member.id == rule)
    said = "\n".join(line.plain for line in explain(member, example, Settings()))
    assert "\nWhy: " in said and "\nFix: " in said
    for violation in denied(rule):
        assert (
            f"{rule}: {violation.message} (at {violation.pointer})\n          Fix: {violation.remediation}\n"
            in said
        )
    assert said.endswith("\n".join(example.difference()))


def test_explain_is_plain_text_where_nobody_looks() -> None:
    ended = run("rules", "explain", "no-host-access")
    assert ended.returncode == 0, ended.stderr
    assert "\x1b" not in ended.stdout
    assert "\n-          hostNetwork: true\n" in ended.stdout
    message = next(line for line in ended.stdout.splitlines() if line.startswith("  deny"))
    assert message.endswith("(at /spec/workerGroupSpecs/0/template/spec/hostNetwork)"), (
        "one line, to be copied as one"
    )


def test_explain_names_parameters_with_type_and_default() -> None:
    said = run("rules", "explain", "no-host-path").stdout
    assert (
        "  allowedPrefixes: []  (list of texts)\n      directories whose contents may be mounted read-only\n"
        in said
    )


def test_explain_says_what_the_policy_must_say() -> None:
    assert (
        '{registries: ["rayproject/*", "registry.example/*"]}'
        in run("rules", "explain", "trusted-images").stdout
    )


def test_explain_of_no_rule_names_the_nearest() -> None:
    ended = run("rules", "explain", "no-opn-ingress")
    assert ended.returncode == 2
    assert (
        ended.stderr
        == "raywarden: no rule is called no-opn-ingress; did you mean no-open-ingress?\n"
    )


@pytest.mark.parametrize(("show", "code"), [("refused", 1), ("fixed", 0)])
def test_either_manifest_can_be_had_whole(show: str, code: int) -> None:
    manifest = run("rules", "explain", "no-privileged", "--show", show).stdout
    assert manifest == getattr(Example.of("no-privileged"), show)
    assert run("review", "-", stdin=manifest).returncode == code
