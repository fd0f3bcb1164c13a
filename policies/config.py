"""The policy file: which profile in which mode, single rules turned, parameters, exemptions, injection choices."""

from collections.abc import Iterable, Mapping
from datetime import date
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from policies.model import NAMESPACE_LABELS, OFF, Configured, Injection, Mode, Profile, Rule, Violation
from policies.registry import RULES

ProfileName = Literal["privileged", "baseline", "restricted"]


def _known_rules(names: Iterable[str]) -> Iterable[str]:
    known = {rule.id for rule in RULES}
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"no rule is called {', '.join(unknown)}; rules are {', '.join(sorted(known))}")
    return names


class Profiles(Configured):
    """The profile of each mode, for namespaces that do not choose a stricter one by label."""

    enforce: ProfileName = "baseline"
    warn: ProfileName = "restricted"
    audit: ProfileName = "restricted"


class RuleSettings(Configured):
    """One rule turned to a mode of its own, whatever the profile, or given parameters."""

    mode: Annotated[Literal["enforce", "warn", "audit", "off"] | None, OFF] = None
    parameters: Mapping[str, Any] = {}


class Exemption(Configured):
    """Who is let off what, why, and until when. Every list given must match; at least one must be given."""

    rules: tuple[str, ...] = Field((), description="rule ids; all rules when empty")
    namespaces: tuple[str, ...] = Field((), description="name patterns, `*` matches anything")
    names: tuple[str, ...] = Field((), description="patterns of the object's name (pods: generateName)")
    users: tuple[str, ...] = Field((), description="patterns of the requesting user")
    reason: str = Field(min_length=1)
    until: date | None = Field(None, description="the last day it holds")

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(_known_rules(rules))

    @model_validator(mode="after")
    def _names_something(self) -> Self:
        if not (self.rules or self.namespaces or self.names or self.users):
            raise ValueError("name at least one of rules, namespaces, names and users")
        return self

    def covers(self, violation: Violation, namespace: str, name: str, user: str) -> bool:
        """This exemption is meant for this violation, in date or not."""
        return (not self.rules or violation.rule in self.rules) and all(
            not patterns or any(fnmatchcase(value, pattern) for pattern in patterns)
            for value, patterns in ((namespace, self.namespaces), (name, self.names), (user, self.users))
        )

    def holds(self, today: date) -> bool:
        return self.until is None or today <= self.until


class PolicyFile(Configured):
    """The policy file as written. Every part may be left out; an empty file is the default policy."""

    api_version: Literal["raywarden.io/v1alpha1"] = "raywarden.io/v1alpha1"
    kind: Literal["Policy"] = "Policy"
    profiles: Profiles = Profiles()
    namespaces_may_loosen: bool = False
    rules: Mapping[str, RuleSettings] = {}
    exemptions: tuple[Exemption, ...] = ()
    inject: Injection = Injection()

    @field_validator("rules")
    @classmethod
    def _known(cls, rules: Mapping[str, RuleSettings]) -> Mapping[str, RuleSettings]:
        _known_rules(rules)
        return rules


class PolicyError(Exception):
    """The policy file cannot be used; the message names every place and what is wrong there."""


class Policy:
    """The policy file made ready: rules with their parameters, and the mode each one has in a namespace."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.inject = file.inject
        self.rules = tuple(self._parametrised(rule) for rule in RULES)

    @classmethod
    def parse(cls, document: Any) -> "Policy":
        """The policy in a parsed YAML document (None for an empty file); raises PolicyError listing all problems."""
        try:
            return cls(PolicyFile.model_validate({} if document is None else document))
        except ValidationError as error:
            raise PolicyError(_places(error)) from None

    def modes(self, violation: Violation, labels: Mapping[str, str]) -> list[Mode]:
        """Every mode the violation counts in, in a namespace with these labels; strictest first, often none."""
        settings = self.file.rules.get(violation.rule)
        if settings and settings.mode:
            modes = [mode for mode in Mode if mode == settings.mode]
        else:
            modes = [mode for mode in Mode if violation.profile <= self._profile(mode, labels)]
        if violation.advisory and Mode.ENFORCE in modes:
            return [Mode.WARN]
        return modes

    def exemption(self, violation: Violation, namespace: str, name: str, user: str, today: date) -> Exemption | None:
        """The first exemption that covers the violation, in force if there is one."""
        covering = [one for one in self.file.exemptions if one.covers(violation, namespace, name, user)]
        # One that ended is returned too, where no other holds: its end is worth a word.
        return next((one for one in covering if one.holds(today)), covering[0] if covering else None)

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

    def _parametrised(self, rule: type[Rule]) -> Rule:
        settings = self.file.rules.get(rule.id)
        try:
            return rule.model_validate(dict(settings.parameters) if settings else {})
        except ValidationError as error:
            raise PolicyError(_places(error, f"rules.{rule.id}.parameters.")) from None


# What pydantic says in its own terms, in the terms of who wrote the file.
_SAID = {
    "extra_forbidden": "there is no such field",
    "model_type": "write a mapping",
    "model_attributes_type": "write a mapping",
    "dict_type": "write a mapping",
    "mapping_type": "write a mapping",
    "tuple_type": "write a list",
}


def _places(error: ValidationError, prefix: str = "") -> str:
    lines = []
    for problem in error.errors():
        place = prefix + ".".join(str(part) for part in problem["loc"])
        said = _SAID.get(problem["type"], problem["msg"].removeprefix("Value error, "))
        lines.append(f"{place.rstrip('.')}: {said}" if place else said)
    return "\n".join(lines)
