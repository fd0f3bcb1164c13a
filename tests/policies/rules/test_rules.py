"""Every rule against its fixtures, through the whole review: a valid minimum plus one change.

A fixture names its `base` and the `change` made to it (JSON pointer: value). `enforce` is the
profile, and `policy` replaces parts of the default policy. `user` and `groups` send the request.
`related_objects` holds further objects of the cluster; with `unknown_cluster`, RayWarden's cache
has no object of the cluster yet. For an update, `before` changes the base into the stored object,
and `change` is applied to that.

A denied fixture names a part of the expected `message`, the `pointer` of the violation, and the
other rules that deny the object (`also_denied_by`). An allowed fixture names a part of a warning
(`warns`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict

from policies.evaluate import Verdict
from policies.registry import RULES
from tests.support import factory, registration, related_objects
from tests.support.paths import FIXTURES
from webhook.admission.reviewer import Reviewer
from webhook.admission.wire import AdmissionRequest

_FIXTURES = FIXTURES / "rules"
BASES = {**factory.MINIMAL, **related_objects.RELATED_OBJECTS}
Admit = Callable[[factory.Object], tuple[factory.Object, Verdict]]
# Their "denied" fixtures get a warning.
ONLY_WARNING = {rule.id for rule in RULES if rule.only_warns}
ALL = sorted(_FIXTURES.glob("*/*/*.yaml"))


class Fixture(BaseModel):
    """The fields of a fixture file."""

    model_config = ConfigDict(extra="forbid")

    base: Literal[tuple(BASES)]  # type: ignore[valid-type]  # computed at run time
    change: dict[str, Any] = {}
    before: dict[str, Any] | None = None
    enforce: Literal["baseline", "restricted"] = "baseline"
    policy: dict[str, Any] = {}
    user: str = ""
    groups: tuple[str, ...] = ()
    related_objects: tuple[dict[str, Any], ...] = ()
    unknown_cluster: bool = False
    message: str = ""
    pointer: str | None = None
    also_denied_by: tuple[str, ...] = ()
    warns: str | None = None


def load(file: Path) -> Fixture:
    return Fixture.model_validate(yaml.load(file.read_text(), yaml.CSafeLoader))


def fixtures(kind: str) -> pytest.MarkDecorator:
    files = [file for file in ALL if file.parent.name == kind]
    return pytest.mark.parametrize(
        "file", files, ids=lambda file: f"{file.parent.parent.name}/{file.stem}"
    )


def sent(fixture: Fixture, **known: Any) -> tuple[Reviewer, AdmissionRequest]:
    """A reviewer for a fixture, and the request with its object as the author sends it.

    `known` is what RayWarden knows besides the objects.
    """
    policy = policy_of(fixture)
    reviewer = factory.reviewer(policy, *fixture.related_objects, **known)
    if fixture.unknown_cluster:
        reviewer = factory.ignorant_reviewer(policy)
    base, stored = BASES[fixture.base](), None
    if fixture.before is not None:
        old = factory.request(factory.changed(base, fixture.before))
        base = stored = dict(reviewer.mutated(old).document)
    operation = "CREATE" if stored is None else "UPDATE"
    document = factory.changed(base, fixture.change)
    return reviewer, factory.request(document, operation, stored, fixture.user, fixture.groups)


def policy_of(fixture: Fixture) -> dict[str, Any]:
    """The policy file of a fixture."""
    return {"profiles": {"enforce": fixture.enforce}, **fixture.policy}


def admitted(fixture: Fixture, **known: Any) -> tuple[factory.Object, Admit]:
    """The object of a fixture, and a function that admits an object.

    `known` is what RayWarden knows besides the objects. The function returns the object as it would
    be stored, and the verdict.
    """
    reviewer, original = sent(fixture, **known)
    assert original.object is not None

    def request(document: factory.Object) -> AdmissionRequest:
        stored = original.old_object
        return factory.request(document, original.operation, stored, fixture.user, fixture.groups)

    def admit(document: factory.Object) -> tuple[factory.Object, Verdict]:
        mutated = reviewer.mutated(request(document))
        assert mutated.failed == ()
        stored_as = dict(mutated.document)
        verdict = reviewer.verdict(request(stored_as))
        # RayWarden can refuse only what the API server sends to it.
        assert not mutated.operations or registration.reaches("mutate", request(document))
        assert not verdict.denied or registration.reaches("validate", request(stored_as))
        return stored_as, verdict

    return original.object, admit


@fixtures("denied")
def test_denied(file: Path) -> None:
    rule, fixture = file.parent.parent.name, load(file)
    assert fixture.message, "a denied fixture needs a part of the message"
    document, admit = admitted(fixture)
    _, verdict = admit(document)
    only_warns = rule in ONLY_WARNING
    denied_by = {*fixture.also_denied_by} | (set() if only_warns else {rule})
    assert {violation.rule for violation in verdict.denied} == denied_by
    violations = verdict.warned if only_warns else verdict.denied
    own_violations = [violation for violation in violations if violation.rule == rule]
    assert any(
        fixture.message in violation.message and fixture.pointer in (None, str(violation.pointer))
        for violation in own_violations
    ), own_violations
    assert all(violation.remediation for violation in own_violations)


@fixtures("allowed")
def test_allowed(file: Path) -> None:
    fixture = load(file)
    document, admit = admitted(fixture)
    _, verdict = admit(document)
    assert verdict.denied == ()
    warned = [violation.message for violation in verdict.warned]
    if fixture.warns:
        assert any(fixture.warns in message for message in warned)
    else:
        assert warned == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_has_allowed_and_denied_fixtures(rule: Any) -> None:
    for kind in ("allowed", "denied"):
        assert list((_FIXTURES / rule.id / kind).glob("*.yaml")), f"{rule.id} has no {kind} fixture"


def test_every_fixture_belongs_to_a_rule() -> None:
    assert {file.parent.parent.name for file in ALL} == {rule.id for rule in RULES}
