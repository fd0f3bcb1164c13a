"""The policy file: profiles, settings of rules, own rules, exemptions, and injection."""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    ValidationError,
    WithJsonSchema,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from policies.configured import (
    ALL,
    OFF,
    Configured,
    Day,
    Injection,
    NetworkIsolation,
    OwnNetworkPolicies,
    all_or_list,
)
from policies.documents.patterns import matches_any_or_all
from policies.expressions import OWN, Expressions, OwnRule, ProfileName
from policies.model import NAMESPACE_LABELS, Mode, Profile, Rule, Violation
from policies.problems import PolicyError, Problem, problems_in, unknown_rule
from policies.registry import RULE_IDS, RULES, by_subject
from policies.rules.operator_made_pods import OperatorMadePods


def _known_rule(name: str) -> str:
    if name not in RULE_IDS and not re.match(OWN, name):
        raise ValueError(unknown_rule(name, RULE_IDS))
    return name


_RULE_ID_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": list(RULE_IDS)}, {"pattern": OWN}]}
RuleId = Annotated[str, AfterValidator(_known_rule), Field(json_schema_extra=_RULE_ID_SCHEMA)]


class Profiles(Configured):
    """The profile of each mode. A namespace's label can choose a stricter one."""

    enforce: ProfileName = Field("baseline", description="violations of this profile are refused")
    warn: ProfileName = Field(
        "restricted", description="violations of this profile are returned as warnings"
    )
    audit: ProfileName = Field(
        "restricted", description="violations of this profile go into the API server's audit log"
    )


class RuleSettings(Configured):
    """The mode and the parameters of one rule."""

    mode: Annotated[Literal["enforce", "warn", "audit", "off"] | None, OFF] = Field(
        None,
        description="the effect of a violation, whatever the profile; the profile decides if unset",
    )
    parameters: Rule = Field(description="the rule's parameters")


class _SettingsByRule:
    """The schema of `rules`: a mapping with one key for each rule, and that rule's parameters."""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        fields = {}
        for rule in RULES:
            settings = handler.generate_schema(_settings_of(rule))
            fields[rule.id] = core_schema.typed_dict_field(settings, required=False)
        return core_schema.typed_dict_schema(fields, extra_behavior="forbid")


def _settings_of(rule: type[Rule]) -> type[RuleSettings]:
    parameters = Field(rule(), description="the rule's parameters")
    summary = (rule.__doc__ or "").partition("\n")[0]
    name = f"{rule.__name__}Settings"
    return create_model(name, __base__=RuleSettings, __doc__=summary, parameters=(rule, parameters))


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
            matches_any_or_all(namespace, self.namespaces)
            and matches_any_or_all(name, self.names)
            and matches_any_or_all(user, self.users)
        )

    def holds(self, today: date) -> bool:
        """This exemption has not expired."""
        return self.until is None or today <= self.until


class AuthorSuppressions(Configured):
    """The findings of `raywarden review` that comments in a manifest may suppress.

    Admission does not read comments, so it still refuses the object.
    """

    rules: Annotated[
        tuple[RuleId, ...],
        WrapValidator(all_or_list),
        WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": _RULE_ID_SCHEMA}]}),
    ] = Field((), description="the ids of these rules, or `all`")

    def allow(self, rule: str) -> bool:
        """Whether authors may suppress findings of this rule."""
        return self.rules == ALL or rule in self.rules


class PolicyFile(Configured):
    """The policy file. Every part is optional; an empty file is the default policy."""

    api_version: Literal["raywarden.io/v1alpha1"] = Field(
        "raywarden.io/v1alpha1", description="version of this format"
    )
    kind: Literal["Policy"] = Field("Policy", description="the kind of this file")
    profiles: Profiles = Field(
        Profiles(), description="the profile of each mode, unless a namespace chooses one"
    )
    namespaces_may_loosen: bool = Field(
        False, description="whether a namespace's label may choose a less strict profile"
    )
    rules: Annotated[Mapping[str, RuleSettings], _SettingsByRule()] = Field(
        {}, description="the mode and the parameters of single rules, by rule id"
    )
    expressions: tuple[OwnRule, ...] = Field(
        (), max_length=100, description="rules of your own, in CEL"
    )
    exemptions: tuple[Exemption, ...] = Field(
        (), description="which requests are exempt from which rules, why, and until when"
    )
    author_suppressions: AuthorSuppressions = Field(
        AuthorSuppressions(),
        description="which findings the authors of manifests may suppress in reviews",
    )
    inject: Injection = Field(
        Injection(), description="choices about the defaults that RayWarden writes"
    )
    network_isolation: NetworkIsolation = Field(
        NetworkIsolation(), description="the NetworkPolicies that RayWarden writes for RayClusters"
    )


def _own_rule_problems(file: PolicyFile) -> Iterator[Problem]:
    """Duplicate ids of own rules, and names of own rules that do not exist."""
    ids: list[str] = []
    for index, rule in enumerate(file.expressions):
        if rule.id in ids:
            yield Problem(("expressions", index, "id"), f"{rule.id} is defined twice")
        ids.append(rule.id)
    known = (*RULE_IDS, *ids)
    for position, name in enumerate(file.author_suppressions.rules):
        if name not in (*known, *ALL):
            yield Problem(("authorSuppressions", "rules", position), unknown_rule(name, known))
    for index, exemption in enumerate(file.exemptions):
        for position, name in enumerate(exemption.rules):
            if name not in known:
                place = ("exemptions", index, "rules", position)
                yield Problem(place, unknown_rule(name, known))


class Policy:
    """The policy file, ready for use: rules with their parameters, and their modes."""

    def __init__(self, file: PolicyFile) -> None:
        self.file = file
        self.inject = file.inject
        self.network_isolation = file.network_isolation
        self.expressions = Expressions(file.expressions)
        self._own = {rule.id: rule for rule in file.expressions}
        self._floors = {mode: Profile.named(getattr(file.profiles, mode)) for mode in Mode}
        self.rules = tuple(
            file.rules[rule.id].parameters if rule.id in file.rules else rule.model_construct()
            for rule in RULES
        )
        self.rules_for = by_subject(self.rules)
        lists = (rule.operators for rule in self.rules if isinstance(rule, OperatorMadePods))
        self.operators = next(lists)

    @classmethod
    def parse(cls, document: Any) -> "Policy":
        """The policy in a parsed YAML document (None for an empty file).

        Raises PolicyError with all problems. Defaults are not validated: that would take long.
        """
        if document is None:
            return cls(PolicyFile.model_construct())
        # Strict JSON validation agrees with the JSON Schema that editors use: "true" is not a
        # boolean, and 1 is not a string.
        try:
            file = PolicyFile.model_validate_json(
                json.dumps(document), strict=True, by_alias=True, by_name=False
            )
        except ValidationError as error:
            raise PolicyError(*problems_in(error, PolicyFile.model_json_schema)) from None
        problems = list(_own_rule_problems(file))
        if problems:
            raise PolicyError(*problems)
        return cls(file)

    def without_isolation(self) -> "Policy":
        """The same policy where RayWarden writes no NetworkPolicies."""
        return Policy(self.file.model_copy(update={"network_isolation": OwnNetworkPolicies()}))

    def modes(self, violation: Violation, labels: Mapping[str, str]) -> list[Mode]:
        """The modes in which the violation counts in a namespace with these labels.

        The strictest mode comes first. Often there is none.
        """
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
        """The first exemption in force that covers the violation, else the first expired one.

        The message of a violation names an expired exemption, so that authors learn why
        they are suddenly refused.
        """
        ended = None
        for exemption in self.file.exemptions:
            if exemption.covers(violation, namespace, name, user):
                if exemption.holds(today):
                    return exemption
                ended = ended or exemption
        return ended

    def expired(self, today: date) -> list[tuple[int, Exemption]]:
        """The expired exemptions, each with its number in the file, counted from 1."""
        numbered = enumerate(self.file.exemptions, 1)
        return [(number, exemption) for number, exemption in numbered if not exemption.holds(today)]

    def floor(self, mode: Mode) -> Profile:
        """The profile of a mode in namespaces that choose none."""
        return self._floors[mode]

    def _profile(self, mode: Mode, labels: Mapping[str, str]) -> Profile:
        floor = self._floors[mode]
        label = labels.get(NAMESPACE_LABELS[mode])
        if label is None:
            return floor
        try:
            chosen = Profile.named(label)
        except KeyError:
            # As in Pod Security Admission: a misspelled profile must not open a namespace.
            chosen = Profile.RESTRICTED
        return chosen if self.file.namespaces_may_loosen else max(chosen, floor)
