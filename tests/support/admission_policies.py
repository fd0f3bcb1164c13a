"""Evaluates the expressions of exported admission policies as the API server does."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from policies.ray.workload import Kind
from tests.support.factory import OPERATOR, Object
from tests.support.registration import PLURALS

_VARIABLE = re.compile(r"\bvariables\.(\w+)")
# The `authorizer` exists only in the API server. The rights that policies ask it about are those of
# KubeRay's operator.
_AUTHORIZED = re.compile(r"authorizer\..*?\.allowed\(\)")
_INPUTS = ("object", "oldObject", "request")
# In Python 3.11 the library drops a reference to None with each null that it returns.
_REFERENCES_TO_NONE = [None] * 1_000_000


class Evaluator:
    """One request, an AdmissionRequest with its objects, for any number of policies."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self._request = request
        self._inputs = {name: request.get(name) for name in _INPUTS} | {"request": dict(request)}
        # Policies share most of their variables. The key is the expression and what it uses.
        self._values: dict[tuple[str | int, ...], Any] = {}

    def added(self, policy: Object) -> list[str]:
        """The messages of findings that are new; none if the request does not match the policy."""
        spec = policy["spec"]
        if not self._matches(spec):
            return []
        values = dict(self._inputs)
        for variable in spec["variables"]:
            expression = variable["expression"]
            used = (id(values[f"v_{name}"]) for name in _variables_in(expression))
            key = (expression, *used)
            if key not in self._values:
                self._values[key] = evaluated(expression, values)
            values[f"v_{variable['name']}"] = self._values[key]
        findings: list[str] = values["v_added"]
        return [finding.partition("\t")[0] for finding in findings]

    def _matches(self, spec: Mapping[str, Any]) -> bool:
        if not self._is_covered(spec["matchConstraints"]):
            return False
        is_operator = str(self._request["userInfo"]["username"] == OPERATOR).lower()
        return all(
            evaluated(_AUTHORIZED.sub(is_operator, condition["expression"]), self._inputs)
            for condition in spec["matchConditions"]
        )

    def _is_covered(self, constraints: Object) -> bool:
        kind = self._request["kind"]
        plural = PLURALS.get(Kind(kind["group"], kind["version"], kind["kind"]), "")
        for rule in constraints["resourceRules"]:
            if kind["group"] in rule["apiGroups"] and plural in rule["resources"]:
                return self._request["operation"] in rule["operations"]
        return False


@cache
def _variables_in(expression: str) -> tuple[str, ...]:
    return tuple(_VARIABLE.findall(expression))


def evaluated(expression: str, values: Mapping[str, Any]) -> Any:
    """The value of an expression; a variable `variables.x` has the name `v_x` in `values`."""
    environment, program = _compiled(expression, frozenset(values))
    result = program.eval(environment.Activation(dict(values)))
    assert result.type() != cel.Type.ERROR, f"{expression}: {result.value()}"
    return result.plain_value()


@cache
def _compiled(expression: str, names: frozenset[str]) -> tuple[Any, Any]:
    environment = cel.NewEnv(
        variables=dict.fromkeys(names, cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(version=2), ext_optional.ExtOptional()],
    )
    return environment, environment.compile(_VARIABLE.sub(r"v_\1", expression))
