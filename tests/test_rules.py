"""Every rule against its fixtures: a valid minimum plus one change, through the whole review.

A fixture names its `base`, the `change` made to it (JSON pointer: value), a `policy` where the default one will not do,
and for a denied one what the message `says`, where it points (`at`), and which rules refuse it `also`.
"""

from pathlib import Path
from typing import Any

import pytest
import yaml

from policies.registry import RULES
from tests import factory

_FIXTURES = Path(__file__).parent / "fixtures" / "rules"
_ALL = sorted(_FIXTURES.glob("*/*/*.yaml"))


def fixtures(kind: str) -> pytest.MarkDecorator:
    files = [file for file in _ALL if file.parent.name == kind]
    return pytest.mark.parametrize("file", files, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")


def reviewed(fixture: dict[str, Any]) -> Any:
    document = factory.changed(factory.MINIMAL[fixture["base"]](), fixture.get("change", {}))
    reviewer = factory.reviewer(fixture.get("policy"))
    mutated = reviewer.mutated(factory.request(document))
    assert mutated.failed == ()
    return reviewer.verdict(factory.request(dict(mutated.document)))


@fixtures("denied")
def test_denied(file: Path) -> None:
    rule, fixture = file.parent.parent.name, yaml.safe_load(file.read_text())
    verdict = reviewed(fixture)
    assert {violation.rule for violation in verdict.denied} == {rule, *fixture.get("also", ())}
    ours = [violation for violation in verdict.denied if violation.rule == rule]
    assert any(
        fixture["says"] in violation.what and fixture.get("at", str(violation.pointer)) == str(violation.pointer)
        for violation in ours
    ), ours
    assert all(violation.fix for violation in ours)


@fixtures("allowed")
def test_allowed(file: Path) -> None:
    fixture = yaml.safe_load(file.read_text())
    verdict = reviewed(fixture)
    assert verdict.denied == ()
    warned = [violation.what for violation in verdict.warned]
    assert any(fixture["warns"] in what for what in warned) if "warns" in fixture else warned == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_both(rule: Any) -> None:
    for kind in ("allowed", "denied"):
        assert list((_FIXTURES / rule.id / kind).glob("*.yaml")), f"{rule.id} has no fixture that is {kind}"


def test_every_fixture_belongs_to_a_rule() -> None:
    assert {file.parent.parent.name for file in _ALL} == {rule.id for rule in RULES}
