"""The administrator's own rules: CEL in the policy file, as in a ValidatingAdmissionPolicy."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from policies.cluster import related_object
from policies.configured import OFF, Configured
from policies.documents.pointer import ROOT
from policies.model import Facts, Profile, Violation
from policies.problems import suggestion
from policies.ray import workload

# CEL is imported by what needs it: most policies have no expression, and it takes long.
if TYPE_CHECKING:
    from policies.cel.expression import Activation

ProfileName = Literal["privileged", "baseline", "restricted"]
EXPRESSION_KINDS = tuple(sorted(workload.WORKLOAD_KINDS | related_object.RELATED_KINDS))
# The prefix keeps these ids apart from those of rules that RayWarden may add later.
OWN = r"^own-[a-z0-9]([-a-z0-9]{0,58}[a-z0-9])?$"


def _condition(source: str) -> str:
    return _compilable(source, bool)


def _message(source: str) -> str:
    return _compilable(source, str)


def _compilable(source: str, result: type[bool] | type[str]) -> str:
    from policies.cel.expression import Expression, ExpressionError

    try:
        Expression.compile(source, result)
    except ExpressionError as error:
        raise ValueError(f"not a valid CEL expression: {error}") from None
    return source


def _known_kind(kind: str) -> str:
    if kind not in EXPRESSION_KINDS:
        known = suggestion(kind, EXPRESSION_KINDS) or "; kinds are " + ", ".join(EXPRESSION_KINDS)
        raise ValueError(f"RayWarden does not check objects of this kind{known}")
    return kind


KindName = Annotated[
    str, AfterValidator(_known_kind), Field(json_schema_extra={"enum": list(EXPRESSION_KINDS)})
]


class OwnRule(Configured):
    """A rule of the administrator: a condition on objects, and the message if it is false."""

    id: str = Field(pattern=OWN, description="its id in messages, exemptions and metrics: own-...")
    kinds: tuple[KindName, ...] = Field(
        (), description="the kinds it checks; all kinds that RayWarden checks if empty"
    )
    expression: Annotated[str, AfterValidator(_condition)] = Field(
        description="CEL over object, oldObject, request and namespaceObject; false is a violation"
    )
    message: str = Field(min_length=1, description="what is wrong if the expression is false")
    message_expression: Annotated[str, AfterValidator(_message)] | None = Field(
        None, description="CEL that returns the message; if it fails, `message` is used"
    )
    remediation: str = Field(
        "ask the administrator of the cluster", min_length=1, description="how to fix it"
    )
    profile: ProfileName = Field("baseline", description="the profile it belongs to")
    mode: Annotated[Literal["enforce", "warn", "audit", "off"] | None, OFF] = Field(
        None,
        description="the effect of a violation, whatever the profile; the profile decides if unset",
    )


class _Compiled:
    def __init__(self, rule: OwnRule) -> None:
        from policies.cel.expression import Expression

        self.rule = rule
        self.condition = Expression.compile(rule.expression)
        self.message: Expression | None = None
        if rule.message_expression:
            self.message = Expression.compile(rule.message_expression, str)


class Expressions:
    """All rules of the administrator, compiled once."""

    def __init__(self, rules: tuple[OwnRule, ...]) -> None:
        self._compiled = tuple(_Compiled(rule) for rule in rules if rule.mode != "off")

    def __bool__(self) -> bool:
        return bool(self._compiled)

    def violations(
        self, kind: str, document: Mapping[str, Any], facts: Facts
    ) -> Iterator[Violation]:
        """A violation for every condition that is false for `document`, or cannot be evaluated.

        The work of all of them together is bounded (`policies.cel.expression`).
        """
        applicable = [
            compiled
            for compiled in self._compiled
            if not compiled.rule.kinds or kind in compiled.rule.kinds
        ]
        if not applicable:
            return
        activation = _activation(document, facts)
        for compiled in applicable:
            message = _failure(compiled, activation)
            if message:
                rule = compiled.rule
                profile = Profile.named(rule.profile)
                yield Violation(rule.id, message, ROOT, rule.remediation, profile)


def _activation(document: Mapping[str, Any], facts: Facts) -> "Activation":
    from policies.cel.expression import Activation

    metadata = facts.namespace_state.metadata
    namespace = None
    if metadata is not None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    return Activation(
        {
            "object": document,
            "oldObject": facts.stored,
            "request": facts.request,
            "namespaceObject": namespace,
        }
    )


def _failure(compiled: _Compiled, activation: "Activation") -> str:
    """The message of the violation; empty if the condition is true."""
    from policies.cel.expression import EvaluationError

    message = compiled.rule.message
    try:
        if compiled.condition.holds(activation):
            return ""
    except EvaluationError as error:
        return f"{message} (the expression could not be evaluated: {error})"
    if compiled.message is None:
        return message
    try:
        return compiled.message.text(activation).strip() or message
    except EvaluationError:
        return message
