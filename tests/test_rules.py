"""Every rule against its fixtures: a valid minimum plus one change, through the whole review.

A fixture names its `base`, the `change` made to it (JSON pointer: value), a `policy` where the default one will not do,
and for a denied one what the message `says`, where it points (`at`), and which rules refuse it `also`.
"""

from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from policies.evaluate import Verdict
from policies.registry import RULES
from tests import factory

_FIXTURES = Path(__file__).parent / "fixtures" / "rules"
_ALL = sorted(_FIXTURES.glob("*/*/*.yaml"))


class Fixture(BaseModel):
    """What a fixture file may hold; see above."""

    model_config = ConfigDict(extra="forbid")

    base: Literal[tuple(factory.MINIMAL)]  # type: ignore[valid-type]  # the names are made at run time
    change: dict[str, Any] = {}
    policy: dict[str, Any] | None = None
    says: str = ""
    at: str | None = None
    also: tuple[str, ...] = ()
    warns: str | None = None


def load(file: Path) -> Fixture:
    return Fixture.model_validate(yaml.safe_load(file.read_text()))


def fixtures(kind: str) -> pytest.MarkDecorator:
    files = [file for file in _ALL if file.parent.name == kind]
    return pytest.mark.parametrize("file", files, ids=lambda file: f"{file.parent.parent.name}/{file.stem}")


def reviewed(fixture: Fixture) -> Verdict:
    document = factory.changed(factory.MINIMAL[fixture.base](), fixture.change)
    reviewer = factory.reviewer(fixture.policy)
    mutated = reviewer.mutated(factory.request(document))
    assert mutated.failed == ()
    return reviewer.verdict(factory.request(dict(mutated.document)))


@fixtures("denied")
def test_denied(file: Path) -> None:
    rule, fixture = file.parent.parent.name, load(file)
    assert fixture.says, "a denied fixture names what the message says"
    verdict = reviewed(fixture)
    assert {violation.rule for violation in verdict.denied} == {rule, *fixture.also}
    ours = [violation for violation in verdict.denied if violation.rule == rule]
    assert any(fixture.says in one.what and fixture.at in (None, str(one.pointer)) for one in ours), ours
    assert all(violation.fix for violation in ours)


@fixtures("allowed")
def test_allowed(file: Path) -> None:
    fixture = load(file)
    verdict = reviewed(fixture)
    assert verdict.denied == ()
    warned = [violation.what for violation in verdict.warned]
    assert any(fixture.warns in what for what in warned) if fixture.warns else warned == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_both(rule: Any) -> None:
    for kind in ("allowed", "denied"):
        assert list((_FIXTURES / rule.id / kind).glob("*.yaml")), f"{rule.id} has no fixture that is {kind}"


def test_every_fixture_belongs_to_a_rule() -> None:
    assert {file.parent.parent.name for file in _ALL} == {rule.id for rule in RULES}
