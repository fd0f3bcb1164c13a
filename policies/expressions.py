"""Rules of the administrator's own, in CEL, as the policy file has them and a ValidatingAdmissionPolicy would."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from policies.cel.expression import Activation, EvaluationError, Expression, ExpressionError
from policies.cluster import related_object
from policies.documents.pointer import ROOT
from policies.model import OFF, Configured, Facts, Profile, Violation
from policies.problems import meant
from policies.ray import workload

ProfileName = Literal["privileged", "baseline", "restricted"]
EXPRESSION_KINDS = tuple(sorted(workload.WORKLOAD_KINDS | related_object.RELATED_KINDS))
# So that no rule of ours that is yet to come takes the name of one of theirs.
OWN = r"^own-[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"


def _condition(source: str) -> str:
    return _compiling(source, bool)


def _message(source: str) -> str:
    return _compiling(source, str)


def _compiling(source: str, result: type[bool] | type[str]) -> str:
    try:
        Expression.compile(source, result)
    except ExpressionError as error:
        raise ValueError(f"not CEL that can be used: {error}") from None
    return source


def _known_kind(kind: str) -> str:
    if kind not in EXPRESSION_KINDS:
        known = meant(kind, EXPRESSION_KINDS) or "; kinds are " + ", ".join(EXPRESSION_KINDS)
        raise ValueError(f"no object of this kind is looked at{known}")
    return kind


KindName = Annotated[
    str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": list(EXPRESSION_KINDS)})
]


class OwnRule(Configured):
    """One rule of the administrator's own: what must be true of an object, and what to say where it is not."""

    id: str = Field(
        pattern=OWN, description="its name in messages, exemptions and metrics: own-..."
    )
    kinds: tuple[KindName, ...] = Field(
        (), description="kinds it looks at; all that RayWarden looks at when empty"
    )
    expression: Annotated[str, AfterValidator(_condition)] = Field(
        description="CEL over object, oldObject, request and namespaceObject: true where all is well"
    )
    message: str = Field(min_length=1, description="what is wrong where it is false")
    message_expression: Annotated[str, AfterValidator(_message)] | None = Field(
        None, description="CEL that gives the message; where it has no answer, `message` is said"
    )
    remediation: str = Field(
        "ask the administrator of the cluster", min_length=1, description="what to write instead"
    )
    profile: ProfileName = Field("baseline", description="the level from which it counts")
    mode: Annotated[Literal["enforce", "warn", "audit", "off"] | None, OFF] = Field(
        None,
        description="what is done about it, whatever the profile; without it the profile decides",
    )


class _Compiled:
    def __init__(self, rule: OwnRule) -> None:
        self.rule = rule
        self.condition = Expression.compile(rule.expression)
        self.message = (
            Expression.compile(rule.message_expression, str) if rule.message_expression else None
        )


class Expressions:
    """All of them, compiled once."""

    def __init__(self, rules: tuple[OwnRule, ...]) -> None:
        self._compiled = tuple(_Compiled(rule) for rule in rules if rule.mode != "off")

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def violations(
        self, kind: str, document: Mapping[str, Any], facts: Facts
    ) -> Iterator[Violation]:
        """What is false of `document`; a condition without an answer counts as false, and says why.

        The work of all of them together is bounded (`policies.cel.expression`).
        """
        listed = [one for one in self._compiled if not one.rule.kinds or kind in one.rule.kinds]
        if not listed:
            return
        known = facts.namespace_state.metadata
        namespace = (
            None if known is None else {"apiVersion": "v1", "kind": "Namespace", "metadata": known}
        )
        variables = {"object": document, "oldObject": facts.stored, "request": facts.request}
        activation = Activation({**variables, "namespaceObject": namespace})
        for one in listed:
            message = _failure(one, activation)
            if message:
                level = Profile.named(one.rule.profile)
                yield Violation(one.rule.id, message, ROOT, one.rule.remediation, level)


def _failure(one: _Compiled, activation: Activation) -> str:
    try:
        if one.condition.holds(activation):
            return ""
    except EvaluationError as error:
        return f"{one.rule.message} (the expression has no answer: {error})"
    try:
        return (one.message.text(activation).strip() if one.message else "") or one.rule.message
    except EvaluationError:
        return one.rule.message
