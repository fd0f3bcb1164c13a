"""Rules without Python: CEL expressions over an object, as a ValidatingAdmissionPolicy of Kubernetes has them.

The language, its macros (`has`, `all`, `exists`, `exists_one`, `map`, `filter`), optional types (`?.`, `orValue`),
the string functions and `sets` are those of Kubernetes 1.32, evaluated by Google's CEL for C++; a table of verdicts is
held against a real API server (`tests/fixtures/cel/parity.yaml`). What differs:

- Kubernetes' own libraries are not there: `quantity`, `url`, `ip`, `cidr`, `authorizer`, `format.named`, `find`,
  `findAll`, `isSorted`, `sum`, `min`, `max`, and `indexOf` of lists. Neither are `params` and `variables`.
- `request` and `namespaceObject` are untyped: a field they cannot have is an error of the evaluation, not of the
  compilation. Mixed literals (`[1, 'a']`) are accepted, which the API server refuses.
- The pattern of `matches` is a constant; an expression is nested 32 levels deep at most, `a.b.c` being three.
- A string with a NUL character and an integer beyond 64 bits are errors. Integers from 2**63 on are unsigned here and
  doubles there.

Work is bounded. When an expression is compiled: its length, its depth and its loops inside loops. When a request
comes: the depth, number of values and length of strings of what it reads; and, before each evaluation, an estimate of
its cost from the sizes of what is in the object (`policies.cel.cost`), which is taken off a budget that all expressions
of the request share. The library itself ends an evaluation after 10,000 rounds of its loops. What would go beyond any
of these is an EvaluationError, so that the caller can refuse.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from policies.cel.cost import FUNCTIONS, compilation, estimate
from policies.cel.extent import SizeBounds, SizeMeter, TooMuchError
from policies.cel.tree import Call, Constant, Name, Node, nesting, nodes, read

VARIABLES = ("object", "oldObject", "request", "namespaceObject")

_MAX_CHARACTERS = 4_000
_MAX_NESTING = 4
_MAX_REASON = 300
# Nanoseconds, by an estimate that is several times too high for most expressions.
_BUDGET = 60_000_000
_MAX_PATTERN = 5_000_000
# The version of the string functions Kubernetes has.
_STRINGS = 2
_PROBLEM = re.compile(r"^(?:\w+: )?ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class ExpressionError(ValueError):
    """The expression cannot be compiled, or is too costly whatever the object; the message says why, and where."""


class EvaluationError(Exception):
    """The expression has no answer for this object: a missing key, a type that does not fit, too much work."""


class Activation:
    """The variables of one request, which all expressions share: measured and converted once, when first read.

    Values are JSON as `json.loads` gives it; a variable that is not given is null.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = {name: variables.get(name) for name in VARIABLES}
        self._measure = SizeMeter()
        self._extents: dict[str, SizeBounds | TooMuchError] = {}
        self._left = _BUDGET
        self._values: Any = None

    def admit(self, tree: Node, names: frozenset[str]) -> Any:
        """What the library evaluates over, when `tree`, which reads `names`, is within all bounds.

        Raises EvaluationError when it is not, and then nothing has been evaluated.
        """
        cost = estimate(tree, {name: self._extent(name) for name in names}, self._measure)
        if cost > self._left:
            raise EvaluationError(
                "over the cost bound: the object has too much in it for this many loops and matches"
            )
        self._left -= cost
        if self._values is None:
            self._values = _environment().Activation(self._variables)
        return self._values

    def _extent(self, name: str) -> SizeBounds:
        if name not in self._extents:
            try:
                self._extents[name] = self._measure.take(self._variables[name])
            except TooMuchError as error:
                self._extents[name] = error
        found = self._extents[name]
        if isinstance(found, TooMuchError):
            raise EvaluationError(f"over the cost bound, or not JSON: in {name}, {found}")
        return found


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression; evaluations share nothing but it."""

    source: str
    _program: Any
    _tree: Node
    _names: frozenset[str]

    @classmethod
    def compile(cls, source: str, result: type[bool] | type[str] = bool) -> "Expression":
        """`source`, which gives what `result` says: bool for a condition, str for a message. Raises ExpressionError."""
        if len(source) > _MAX_CHARACTERS:
            raise ExpressionError(f"longer than {_MAX_CHARACTERS} characters")
        try:
            program = _environment().compile(source)
            found = program.return_type()
            tree = read(program.serialize())
        except Exception as error:
            raise ExpressionError(_problems(error)) from None
        if found != _TYPES[result]:
            raise ExpressionError(_wrong_type(result, found.name()))
        _check(tree)
        names = frozenset(node.name for node in nodes(tree) if isinstance(node, Name)) & frozenset(
            VARIABLES
        )
        return cls(source, program, tree, names)

    def holds(self, activation: Activation) -> bool:
        """Whether the condition is true; raises EvaluationError, and nothing else, where there is no answer."""
        return bool(self._evaluated(activation, bool))

    def text(self, activation: Activation) -> str:
        """The message; raises EvaluationError, and nothing else, where there is none."""
        return str(self._evaluated(activation, str))

    def _evaluated(self, activation: Activation, result: type[bool] | type[str]) -> Any:
        values = activation.admit(self._tree, self._names)
        try:
            value = self._program.eval(values)
            found = value.type()
            # Only of these types: in Python 3.11 the library drops a reference to None with every null it hands out.
            plain = value.value() if found in (_TYPES[result], cel.Type.ERROR) else None
        except Exception as error:
            raise EvaluationError(_reason(str(error))) from None
        if found == cel.Type.ERROR:
            raise EvaluationError(_reason(str(plain)))
        if plain is None:
            raise EvaluationError(f"not of type {_TYPES[result].name()}, but {found.name()}")
        return plain


_TYPES = {bool: cel.Type.BOOL, str: cel.Type.STRING}


@cache
def _environment() -> Any:
    """What expressions may use, as Kubernetes 1.32 has it."""
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml("extensions: [{name: sets}]"),
        variables=dict.fromkeys(VARIABLES, cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(version=_STRINGS), ext_optional.ExtOptional()],
    )


def _wrong_type(result: type[bool] | type[str], found: str) -> str:
    example = "a comparison" if result is bool else "string(...)"
    is_ = "of whatever type the object has there" if found == "DYN" else found
    return f"must be of type {_TYPES[result].name()}, is {is_}; write {example}"


def _check(tree: Node) -> None:
    if nesting(tree) > _MAX_NESTING:
        raise ExpressionError(
            f"more than {_MAX_NESTING} loops (all, exists, map, ...) inside each other"
        )
    for node in nodes(tree):
        if isinstance(node, Name) and node.name.startswith("."):
            raise ExpressionError(f"write {node.name[1:]} without the dot before it")
        if isinstance(node, Call) and node.function not in FUNCTIONS:
            raise ExpressionError(f"the function {node.function} cannot be used here")
        if isinstance(node, Call) and node.function == "matches":
            _check_pattern(node.arguments[-1])


def _check_pattern(pattern: Node) -> None:
    if not isinstance(pattern, Constant):
        raise ExpressionError(
            "the pattern of matches must be a constant: one from the object could be anything"
        )
    if compilation(pattern.text) > _MAX_PATTERN:
        raise ExpressionError(
            f"the pattern {pattern.text[:50]!r} has too large repetitions or too many classes (\\p)"
        )


def _problems(error: Exception) -> str:
    """The compiler's complaints, each with its line and column."""
    found = [
        f"line {line}, column {column}: {message}"
        for line, column, message in _PROBLEM.findall(str(error))
    ]
    return "; ".join(dict.fromkeys(found)).replace(" (in container '')", "") or _reason(str(error))


def _reason(message: str) -> str:
    return _STATUS.sub("", message)[:_MAX_REASON]
