"""Who is exempt from which rules: by the administrator, and by authors in reviews."""

import re
from datetime import date
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
    model_validator,
)

from policies.configured import Configured
from policies.documents.patterns import matches_any
from policies.expressions import OWN
from policies.model import Violation
from policies.problems import unknown_rule
from policies.registry import RULES

RULE_IDS = tuple(rule.id for rule in RULES)
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def _known_rule(name: str) -> str:
    if name not in RULE_IDS and not re.match(OWN, name):
        raise ValueError(unknown_rule(name, RULE_IDS))
    return name


def _day(value: Any) -> date:
    # Pydantic alone would also accept the seconds since 1970, as a number and as a string.
    if not isinstance(value, str) or not re.match(_DAY, value):
        raise ValueError("write a day as 2027-01-31")
    return date.fromisoformat(value)


_RULE_ID_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": list(RULE_IDS)}, {"pattern": OWN}]}
RuleId = Annotated[str, AfterValidator(_known_rule), Field(json_schema_extra=_RULE_ID_SCHEMA)]
Day = Annotated[date, BeforeValidator(_day), Field(json_schema_extra={"pattern": _DAY})]


class Exemption(Configured):
    """Exempts requests from rules. All lists that are set must match; at least one must be set."""

    # The same condition as in _names_something, for editors.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"minItems": 1}}}
                for name in ("rules", "namespaces", "names", "users")
            ]
        }
    )

    rules: tuple[RuleId, ...] = Field((), description="rule ids; all rules if empty")
    namespaces: tuple[str, ...] = Field(
        (), description="patterns of namespaces; `*` matches anything"
    )
    names: tuple[str, ...] = Field(
        (), description="patterns of the object's name; of a pod, its generateName"
    )
    users: tuple[str, ...] = Field((), description="patterns of the requesting user")
    reason: str = Field(min_length=1, description="why; goes into the audit log")
    until: Day | None = Field(None, description="the last day of the exemption; no end if unset")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.rules or self.namespaces or self.names or self.users):
            raise ValueError("name at least one of rules, namespaces, names and users")
        return self

    def covers(self, violation: Violation, namespace: str, name: str, user: str) -> bool:
        """This exemption is for this violation, whether it has expired or not."""
        if self.rules and violation.rule not in self.rules:
            return False
        return (
            _matches(namespace, self.namespaces)
            and _matches(name, self.names)
            and _matches(user, self.users)
        )

    def holds(self, today: date) -> bool:
        """This exemption has not expired."""
        return self.until is None or today <= self.until


# Every rule, also those of the policy file.
ALL = ("all",)


def _all_or_rules(value: Any, rules: ValidatorFunctionWrapHandler) -> Any:
    if value == "all":
        return ALL
    return rules(tuple(value) if isinstance(value, list) else value)


class AuthorSuppressions(Configured):
    """The findings of `raywarden review` that comments in a manifest may suppress.

    Admission does not read comments, so it still refuses the object.
    """

    rules: Annotated[
        tuple[RuleId, ...],
        WrapValidator(_all_or_rules),
        WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": _RULE_ID_SCHEMA}]}),
    ] = Field((), description="the ids of these rules, or `all`")

    def allow(self, rule: str) -> bool:
        """Whether authors may suppress findings of this rule."""
        return self.rules == ALL or rule in self.rules


def _matches(value: str, patterns: tuple[str, ...]) -> bool:
    """`value` matches one of `patterns`, or there are none."""
    return not patterns or matches_any(value, patterns)
