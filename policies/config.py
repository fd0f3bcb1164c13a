"""The policy file: which profile in which mode, rules turned and parametrized, own rules, exemptions, injection."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from policies.expressions import OWN, Expressions, OwnRule, ProfileName
from policies.model import (
    NAMESPACE_LABELS,
    OFF,
    Configured,
    Injection,
    Mode,
    Profile,
    Rule,
    Violation,
)
from policies.problems import PolicyError, Problem, problems_in, unknown_rule
from policies.registry import RULES

RULE_IDS = tuple(rule.id for rule in RULES)
_DAY = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"


def _known_rule(name: str) -> str:
    if name not in RULE_IDS and not re.match(OWN, name):
        raise ValueError(unknown_rule(name, RULE_IDS))
    return name


def _day(value: Any) -> date:
    # Left to itself pydantic also takes the seconds since 1970, as a number and as a text.
    if not isinstance(value, str) or not re.match(_DAY, value):
        raise ValueError("write a day as 2027-01-31")
    return date.fromisoformat(value)


_RULE_ID_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": list(RULE_IDS)}, {"pattern": OWN}]}
RuleId = Annotated[str, AfterValidator(_known_rule), Field(json_schema_extra=_RULE_ID_SCHEMA)]
Day = Annotated[date, BeforeValidator(_day), Field(json_schema_extra={"pattern": _DAY})]


class Profiles(Configured):
    """The profile of each mode, for namespaces that do not choose a stricter one by label."""

    enforce: ProfileName = Field("baseline", description="what is refused")
    warn: ProfileName = Field("restricted", description="what the author is warned about")
    audit: ProfileName = Field(
        "restricted", description="what goes into the API server's audit log"
    )


class RuleSettings(Configured):
    """One rule turned to a mode of its own, or given parameters."""

    mode: Annotated[Literal["enforce", "warn", "audit", "off"] | None, OFF] = Field(
        None,
        description="what is done about it, whatever the profile; without it the profile decides",
    )
    parameters: Rule = Field(description="what the rule lets itself be told")


class _OfEachRule:
    """In place of RuleSettings of any rule: a mapping of those there are, each with its own rule's parameters."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        parts = {
            rule.id: core_schema.typed_dict_field(
                handler.generate_schema(_settings_of(rule)), required=False
            )
            for rule in RULES
        }
        return core_schema.typed_dict_schema(parts, extra_behavior="forbid")


def _settings_of(rule: type[Rule]) -> type[RuleSettings]:
    parameters = Field(rule(), description="what the rule lets itself be told")
    summary = (rule.__doc__ or "").partition("\n")[0]
    name = f"{rule.__name__}Settings"
    return create_model(name, __base__=RuleSettings, __doc__=summary, parameters=(rule, parameters))


class Exemption(Configured):
    """Who is let off what, why, and until when. Every list given must match; at least one must be given."""

    # What _names_something says, for editors.
    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": [name], "properties": {name: {"minItems": 1}}}
                for name in ("rules", "namespaces", "names", "users")
            ]
        }
    )

    rules: tuple[RuleId, ...] = Field((), description="rule ids; all rules when empty")
    namespaces: tuple[str, ...] = Field((), description="name patterns, `*` matches anything")
    names: tuple[str, ...] = Field(
        (), description="patterns of the object's name (pods: generateName)"
    )
    users: tuple[str, ...] = Field((), description="patterns of the requesting user")
    reason: str = Field(min_length=1, description="why; it goes into the audit log")
    until: Day | None = Field(None, description="the last day it holds")

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.rules or self.namespaces or self.names or self.users):
            raise ValueError("name at least one of rules, namespaces, names and users")
        return self

    def covers(self, violation: Violation, namespace: str, name: str, user: str) -> bool:
        """This exemption is meant for this violation, in date or not."""
        return (not self.rules or violation.rule in self.rules) and all(
            not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
            for value, patterns in (
                (namespace, self.namespaces),
                (name, self.names),
                (user, self.users),
            )
        )

    def holds(self, today: date) -> bool:
        return self.until is None or today <= self.until


class PolicyFile(Configured):
    """The policy file as written. Every part may be left out; an empty file is the default policy."""

    api_version: Literal["raywarden.io/v1alpha1"] = Field(
        "raywarden.io/v1alpha1", description="version of this format"
    )
    kind: Literal["Policy"] = Field("Policy", description="what this file is")
    profiles: Profiles = Field(
        Profiles(), description="the profile of each mode, where a namespace chooses none"
    )
    namespaces_may_loosen: bool = Field(
        False, description="whether a namespace's label may choose a looser profile than these"
    )
    rules: Annotated[Mapping[str, RuleSettings], _OfEachRule()] = Field(
        {}, description="single rules, by id: turned to a mode of their own, or given parameters"
    )
    expressions: tuple[OwnRule, ...] = Field(
        (), max_length=100, description="rules of your own, in CEL"
    )
    exemptions: tuple[Exemption, ...] = Field(
        (), description="who is let off what, why, and until when"
    )
    inject: Injection = Field(
        Injection(), description="what defaults look like where there is a choice"
    )


def _of_own_rules(file: PolicyFile) -> Iterator[Problem]:
    """Ids that are taken twice, and exemptions from a rule of one's own that is not there."""
    ids: list[str] = []
    for index, rule in enumerate(file.expressions):
        if rule.id in ids:
            yield Problem(("expressions", index, "id"), f"{rule.id} stands twice")
        ids.append(rule.id)
    for index, exemption in enumerate(file.exemptions):
        for place, name in enumerate(exemption.rules):
            if name not in (*RULE_IDS, *ids):
                yield Problem(
                    ("exemptions", index, "rules", place), unknown_rule(name, (*RULE_IDS, *ids))
                )


class Policy:
    """The policy file made ready: rules with their parameters, and the mode each one has in a namespace."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.inject = file.inject
        self.expressions = Expressions(file.expressions)
        self._own = {rule.id: rule for rule in file.expressions}
        self.rules = tuple(
            file.rules[rule.id].parameters if rule.id in file.rules else rule() for rule in RULES
        )

    @classmethod
    def parse(cls, document: Any) -> "Policy":
        """The policy in a parsed YAML document (None for an empty file); raises PolicyError with all problems."""
        # Read as JSON and by the letter, the file is judged as its schema judges it: "true" is no boolean, 1 no text.
        content = json.dumps({} if document is None else document)
        try:
            file = PolicyFile.model_validate_json(
                content, strict=True, by_alias=True, by_name=False
            )
        except ValidationError as error:
            raise PolicyError(*problems_in(error, PolicyFile.model_json_schema)) from None
        if problems := list(_of_own_rules(file)):
            raise PolicyError(*problems)
        return cls(file)

    def modes(self, violation: Violation, labels: Mapping[str, str]) -> list[Mode]:
        """Every mode the violation counts in, in a namespace with these labels; strictest first, often none."""
        settings = self.file.rules.get(violation.rule) or self._own.get(violation.rule)
        if settings and settings.mode:
            modes = [mode for mode in Mode if mode == settings.mode]
        else:
            modes = [mode for mode in Mode if violation.profile <= self._profile(mode, labels)]
        if violation.advisory and Mode.ENFORCE in modes:
            return [Mode.WARN]
        return modes

    def exemption(
        self, violation: Violation, namespace: str, name: str, user: str, today: date
    ) -> Exemption | None:
        """The first exemption that covers the violation, in force if there is one."""
        covering = [
            one for one in self.file.exemptions if one.covers(violation, namespace, name, user)
        ]
        # One that ended is returned too, where no other holds: its end is worth a word.
        return next(
            (one for one in covering if one.holds(today)), covering[0] if covering else None
        )

    def ended(self, today: date) -> list[tuple[int, Exemption]]:
        """The exemptions that hold no longer, each with its number in the file, counted from 1."""
        return [pair for pair in enumerate(self.file.exemptions, 1) if not pair[1].holds(today)]

    def _profile(self, mode: Mode, labels: Mapping[str, str]) -> Profile:
        floor = Profile.named(getattr(self.file.profiles, mode))
        label = labels.get(NAMESPACE_LABELS[mode])
        if label is None:
            return floor
        try:
            chosen = Profile.named(label)
        except KeyError:
            # As Pod Security Admission does: a misspelt level must not open a namespace.
            chosen = Profile.RESTRICTED
        return chosen if self.file.namespaces_may_loosen else max(chosen, floor)
