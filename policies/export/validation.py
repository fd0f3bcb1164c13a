"""A rule as ValidatingAdmissionPolicy and its bindings."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from policies.config import Policy
from policies.export.bindings import LABELS, bindings
from policies.export.check import Check, Context
from policies.export.conditions import conditions
from policies.export.table import checks_of
from policies.export.text import VARIABLE, cel, literal, of_stored_object
from policies.export.view import Variable, view
from policies.model import Profile, Rule

API_VERSION = "admissionregistration.k8s.io/v1"
# The webhooks leave these namespaces alone, too.
_EXCLUDED = ("raywarden-system", "kube-system")
_KUBERAY = ("rayclusters", "rayjobs", "rayservices", "raycronjobs")
_APPS = ("deployments", "statefulsets", "daemonsets", "replicasets")
_RESOURCES: Sequence[tuple[str, Sequence[str], Sequence[str]]] = (
    ("ray.io", _KUBERAY, ("CREATE", "UPDATE")),
    ("", ("pods", "replicationcontrollers"), ("CREATE", "UPDATE")),
    ("", ("pods/ephemeralcontainers", "pods/status"), ("UPDATE",)),
    ("apps", _APPS, ("CREATE", "UPDATE")),
    ("batch", ("jobs", "cronjobs"), ("CREATE", "UPDATE")),
)
# CEL needs some seconds for more. RayWarden refuses large objects, too (`policies.cluster.size`).
_TOO_LARGE = "the object has too many worker groups or containers to be checked"
_ADDED = """
[object.?spec.?workerGroupSpecs, object.?spec.?rayClusterSpec.?workerGroupSpecs,
  object.?spec.?rayClusterConfig.?workerGroupSpecs,
  object.?spec.?jobTemplate.?rayClusterSpec.?workerGroupSpecs]
  .exists(l, size(l.orValue([])) > 100 || l.orValue([]).exists(g,
    size(g.?template.?spec.?containers.orValue([])) > 50)) ? [$large]
: variables.findings.filter(f, !(f in variables.findingsBefore))
"""
# The API server shows no message with more than 5,120 bytes.
_MESSAGE = """
"$rule: " + [variables.added.map(f, f.split("\\t")[0]).join("; ")].map(t,
  string(t.size() > 1000 ? t.substring(0, 1000) + "..." : t))[0] + $fix
"""


def validating_policies(policy: Policy, context: Context) -> Iterator[dict[str, Any]]:
    """The policies of all exported rules that are in force, each followed by its bindings."""
    for rule in policy.rules:
        for check in checks_of(rule, context):
            bound = list(bindings(name_of(rule, check.profile), rule.id, check.profile, policy))
            if bound:
                yield _policy(rule, check, policy, context)
                yield from bound


def name_of(rule: Rule, profile: Profile) -> str:
    """The name of the policy; some rules have another one for what counts at a later level."""
    return f"raywarden-{rule.id}" + ("" if profile <= rule.profile else f"-{profile}")


def _policy(rule: Rule, check: Check, policy: Policy, context: Context) -> dict[str, Any]:
    lines = f'({check.findings}).split("\\n").filter(f, f != "")'
    stored = of_stored_object(lines)
    variables = [
        *view(context.injection.ray_cluster == "marker", "c.repository" in lines),
        Variable("findingsBefore", stored),
        Variable("findings", lines),
        Variable("added", cel(_ADDED, large=literal(_TOO_LARGE))),
    ]
    fix = f". Fix: {_fix(rule)}"
    message = cel(_MESSAGE, rule=rule.id, fix=literal(fix))
    return {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name_of(rule, check.profile), "labels": dict(LABELS)},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": match_constraints(),
            "matchConditions": conditions(rule.id, policy),
            "variables": needed(variables, "variables.added"),
            "validations": [
                {
                    "expression": "size(variables.added) == 0",
                    "message": f"{rule.id}: the object breaks this rule{fix}",
                    "messageExpression": message,
                    "reason": "Forbidden",
                }
            ],
        },
    }


def match_constraints() -> dict[str, Any]:
    """The objects that are Ray's, or from which Ray pods may be created."""
    return {
        **excluded_namespaces(),
        "resourceRules": [
            {
                "apiGroups": [group],
                "apiVersions": ["v1"],
                "resources": list(resources),
                "operations": list(operations),
            }
            for group, resources, operations in _RESOURCES
        ],
    }


def excluded_namespaces() -> dict[str, Any]:
    """The part of match constraints that leaves out the namespaces that the webhooks leave out."""
    excluded = {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": list(_EXCLUDED),
    }
    selector = {"matchExpressions": [excluded]}
    return {"matchPolicy": "Equivalent", "namespaceSelector": selector}


def needed(variables: Sequence[Variable], expression: str) -> list[Mapping[str, str]]:
    """The variables that `expression` uses, directly or through others, in their order."""
    used = set(VARIABLE.findall(expression))
    for variable in reversed(variables):
        if variable.name in used:
            used.update(VARIABLE.findall(variable.expression))
    return [
        {"name": variable.name, "expression": variable.expression}
        for variable in variables
        if variable.name in used
    ]


def _fix(rule: Rule) -> str:
    documentation = inspect.cleandoc(type(rule).__doc__ or "")
    return " ".join(documentation.partition("\nFix: ")[2].split())
