"""The file with the cases of a policy test, as administrators write it."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)

from policies.configured import Configured, Day
from policies.expressions import OWN
from policies.problems import shown, suggestion, unknown_rule
from policies.ray.operator import KubeRayOperator
from policies.registry import MUTATION_IDS, RULE_IDS

# Far more than people write, and few enough that a file cannot keep a CI job busy for hours.
MAX_CASES = 2_000
_MAX_SOURCES = 1_000
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")
# `size` is no rule: it refuses objects that are too large to be checked.
_REPORTED_IDS = (*RULE_IDS, "size")


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("write a path")
    if _ABSOLUTE.match(value):
        raise ValueError("write a path relative to this file")
    return value


def _source(value: Any) -> Any:
    if isinstance(value, dict):
        return value
    if not isinstance(value, str):
        raise ValueError("write a path, or an object")
    return _path(value)


def _stored(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return value
    if not isinstance(value, str):
        raise ValueError("write the path of a YAML file, or a list of objects")
    return _path(value)


def _not_empty(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("write at least one")
    return values


def _rule(name: str) -> str:
    if name not in _REPORTED_IDS and not re.match(OWN, name):
        raise ValueError(unknown_rule(name, _REPORTED_IDS))
    return name


def _mutation(name: str) -> str:
    if name not in MUTATION_IDS:
        known = suggestion(name, MUTATION_IDS) or f"; mutations are {', '.join(MUTATION_IDS)}"
        raise ValueError(f"no mutation is called {shown(name)}{known}")
    return name


def _release(version: str) -> str:
    if KubeRayOperator.of_release(version) is None:
        raise ValueError('write a version in quotes, such as "1.6" or "1.6.0"')
    return version


_OBJECT_OR_PATH: dict[str, Any] = {"type": ["string", "object"]}
_LIST_OR_PATH: dict[str, Any] = {"type": ["string", "array"], "items": {"type": "object"}}
_RULE_SCHEMA: dict[str, Any] = {"anyOf": [{"enum": list(_REPORTED_IDS)}, {"pattern": OWN}]}
# A path relative to the test file, perhaps with `*`, `?`, `[a-z]` and `**`; or an object.
Source = Annotated[Any, PlainValidator(_source), WithJsonSchema(_OBJECT_OR_PATH)]
Sources = Annotated[tuple[Source, ...], Field(max_length=_MAX_SOURCES)]
# Pydantic's own minimum would also count entries that are wrong as missing.
NOT_EMPTY = (AfterValidator(_not_empty), Field(json_schema_extra={"minItems": 1}))
Stored = Annotated[Any, PlainValidator(_stored), WithJsonSchema(_LIST_OR_PATH)]
ReportedRule = Annotated[str, AfterValidator(_rule), Field(json_schema_extra=_RULE_SCHEMA)]
MutationId = Annotated[
    str,
    AfterValidator(_mutation),
    Field(json_schema_extra={"enum": list(MUTATION_IDS)}),
]
ReportedRules = tuple[ReportedRule, ...] | None
MutationIds = tuple[MutationId, ...] | None


class ExpectedParts(Configured):
    """What must be among the rules and mutations; there may be more."""

    denies: tuple[ReportedRule, ...] = Field((), description="rules that must deny")
    warns: tuple[ReportedRule, ...] = Field((), description="rules that must warn")
    exempts: tuple[ReportedRule, ...] = Field((), description="rules that must be exempt")
    mutates: tuple[MutationId, ...] = Field((), description="mutations that must apply")


class Expectation(Configured):
    """What a case expects. Only what is set is compared; lists of ids are compared as sets."""

    verdict: Literal["allowed", "denied", "mixed", "ignored"] | None = Field(
        None,
        description="`allowed` or `denied`: all objects are; `mixed`: some of each; `ignored`: "
        "no object has anything to do with Ray",
    )
    denies: ReportedRules = Field(None, description="exactly the rules that deny")
    warns: ReportedRules = Field(None, description="exactly the rules that warn")
    exempts: ReportedRules = Field(None, description="exactly the rules with an exemption")
    mutates: MutationIds = Field(None, description="exactly the mutations that change the objects")
    contains: ExpectedParts = Field(
        ExpectedParts(), description="rules and mutations that must be there, among others"
    )
    messages: tuple[str, ...] = Field(
        (), max_length=100, description="texts; each must be part of a denial or a warning"
    )
    stored: Stored | None = Field(
        None,
        description="the objects as they would be stored: a YAML file, or a list of objects. With "
        "values that depend on the version of RayWarden",
    )
    stored_contains: dict[str, Any] | None = Field(
        None,
        description="fields of the stored objects. `kind` and `metadata.name` select objects; "
        "members of lists are found by `name`; lists without names are compared as a whole",
    )

    @property
    def expects_something(self) -> bool:
        """Whether a field is set. An empty list is, and expects that there is nothing."""
        return bool(self.model_fields_set)


class _RequestFields(Configured):
    """What a request and the cluster look like: for one case, or for all cases of a file."""

    cluster: Sources = Field(
        (),
        description="objects that exist: namespaces, RBAC, NetworkPolicies, quotas, RayClusters; "
        "those of the file and of the case",
    )
    cluster_is_complete: bool | None = Field(
        None,
        description="whether other objects do not exist; they are unknown if false (the default)",
    )
    namespace: str | None = Field(None, description="namespace of objects without one; `default`")
    user: str | None = Field(None, description="the user who sends the objects; empty if unset")
    groups: tuple[str, ...] | None = Field(None, description="the groups of the user")
    today: Day | None = Field(
        None, description="the day for exemptions, such as 2027-01-31; today if unset"
    )
    kuberay: Annotated[str, AfterValidator(_release)] | None = Field(
        None, description='version of KubeRay, such as "1.7"; unknown if unset'
    )
    kuberay_feature_gates: str | None = Field(
        None, description="value of that operator's option --feature-gates"
    )


class Case(_RequestFields):
    """Objects that are sent, and what is expected of them."""

    name: str = Field(min_length=1, max_length=200, description="what the case is about; unique")
    objects: Annotated[Sources, *NOT_EMPTY] = Field(
        description="objects that are sent: paths, or the objects themselves"
    )
    operation: Literal["CREATE", "UPDATE"] | None = Field(
        None, description="UPDATE if oldObjects is set, else CREATE"
    )
    old_objects: Sources = Field(
        (), description="with UPDATE, the stored objects; found by kind, namespace and name"
    )
    old_objects_mutated: bool = Field(
        True,
        description="whether RayWarden wrote its defaults into oldObjects when they were created; "
        "false for objects that are older than RayWarden",
    )
    derived: bool | None = Field(
        None,
        description="whether objects that KubeRay would create count as well, such as the pods of "
        "a RayCluster; true for CREATE, false for UPDATE",
    )
    expect: Expectation = Field(Expectation(), description="what the case expects")

    @model_validator(mode="after")
    def _is_one_operation(self) -> Self:
        if self.operation == "UPDATE" and not self.old_objects:
            raise ValueError("UPDATE needs oldObjects")
        if self.operation == "CREATE" and self.old_objects:
            raise ValueError("oldObjects needs the operation UPDATE")
        return self

    @property
    def updates(self) -> bool:
        """The objects replace stored ones."""
        return bool(self.old_objects)


class PolicyTest(_RequestFields):
    """A policy file, and cases that say what it does."""

    api_version: Literal["raywarden.io/v1alpha1"] = Field(
        "raywarden.io/v1alpha1", description="version of this format"
    )
    kind: Literal["PolicyTest"] = Field(description="the kind of this file")
    policy: Source | None = Field(
        None, description="the policy file, or its content; the built-in policy if unset"
    )
    cases: Annotated[tuple[Case, ...], Field(max_length=MAX_CASES), *NOT_EMPTY] = Field(
        description="the cases"
    )
