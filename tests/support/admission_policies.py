"""Evaluates the expressions of exported admission policies as the API server does."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from tests.support.factory import Object

_VARIABLE = re.compile(r"\bvariables\.(\w+)")
# The `authorizer` exists only in the API server. Whoever asks, it says no.
_AUTHORIZED = re.compile(r"authorizer\..*?\.allowed\(\)")
_INPUTS = ("object", "oldObject", "request")
# In Python 3.11 the library drops a reference to None with each null that it returns.
_REFERENCES_TO_NONE = [None] * 1_000_000


def added(policy: Object, request: Mapping[str, Any]) -> list[str]:
    """The findings of a policy on a request; none if a match condition is false.

    `request` is an AdmissionRequest with its objects.
    """
    spec = policy["spec"]
    values = {name: request.get(name) for name in _INPUTS} | {"request": dict(request)}
    for condition in spec["matchConditions"]:
        if not _evaluated(_AUTHORIZED.sub("false", condition["expression"]), values):
            return []
    for variable in spec["variables"]:
        values[f"v_{variable['name']}"] = _evaluated(variable["expression"], values)
    findings: list[str] = values["v_added"]
    return findings


def _evaluated(expression: str, values: Mapping[str, Any]) -> Any:
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
