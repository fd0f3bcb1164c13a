"""CEL expressions over an object, as in a ValidatingAdmissionPolicy of Kubernetes.

The language, its macros (`has`, `all`, `exists`, `exists_one`, `map`, `filter`), optional types
(`?.`, `orValue`), the string functions and `sets` are those of Kubernetes 1.32. Google's CEL for
C++ evaluates them. A table of verdicts is compared with a real API server
(`tests/fixtures/cel/parity.yaml`). The differences are:

- Kubernetes' own libraries are missing: `quantity`, `url`, `ip`, `cidr`, `authorizer`,
  `format.named`, `find`, `findAll`, `isSorted`, `sum`, `min`, `max`, and `indexOf` of lists. So are
  `params` and `variables`.
- `request` and `namespaceObject` are untyped. A field they cannot have is an error of the
  evaluation, not of the compilation. Mixed literals (`[1, 'a']`) are accepted; the API server
  rejects them.
- The pattern of `matches` must be a constant. An expression has at most 32 levels; `a.b.c` has
  three.
- A string with a NUL character and an integer with more than 64 bits are errors. Integers from
  2**63 on are unsigned; the API server reads them as doubles.

All work is bounded. The length, the depth and the nested loops of an expression are limited when
it is compiled. For each request, the depth, the number of values and the length of the strings it
reads are limited. Before each evaluation its cost is estimated from the sizes of its input
(`policies.cel.cost`) and subtracted from a budget that all expressions of the request share. The
library itself ends an evaluation after 10,000 rounds of its loops; it has no other limit and cannot
be interrupted. Exceeding any limit raises EvaluationError, so that the caller can refuse the
object.
"""

import re
from collections.abc import Mapping, Set
from dataclasses import dataclass
from functools import cache
from typing import Any

from cel_expr_python import cel
from cel_expr_python.ext import ext_optional, ext_strings

from policies.cel.cost import FUNCTIONS, compilation, estimate
from policies.cel.extent import SizeBounds, SizeMeter, TooMuchError
from policies.cel.tree import Call, Constant, Name, Node, nesting, nodes, read

VARIABLES = ("object", "oldObject", "request", "namespaceObject")

# Bounds the time to compile an expression.
_MAX_CHARACTERS = 4_000
# Pod, container, list and entry: a rule over an object does not need more nested loops.
_MAX_NESTING = 4
# Error messages of the library may quote values of the object.
_MAX_REASON = 300
# Nanoseconds for all expressions of a request, by an estimate that is several times too high for
# most expressions.
_BUDGET = 60_000_000
# Nanoseconds to compile one pattern: more would use up the budget within a dozen matches.
_MAX_PATTERN = 5_000_000
# The version of the string functions in Kubernetes 1.32.
_STRINGS = 2
_PROBLEM = re.compile(r"^(?:\w+: )?ERROR: <input>:(\d+):(\d+): (.*)$", re.MULTILINE)
_STATUS = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")


class ExpressionError(ValueError):
    """The expression cannot be compiled, or costs too much for any object.

    The message has the reason and, if known, the line and column.
    """


class EvaluationError(Exception):
    """The expression failed on this object: a missing key, a wrong type, or too much work."""


class Activation:
    """The variables of one request. All expressions share them, and the budget.

    Each variable is measured once, when it is first read. Values are JSON as `json.loads` returns
    it. A missing variable is null.
    """

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self._variables = {name: variables.get(name) for name in VARIABLES}
        self._meter = SizeMeter()
        self._bounds: dict[str, SizeBounds | TooMuchError] = {}
        self._budget = _BUDGET
        self._values: Any = None

    def admit(self, tree: Node, names: Set[str]) -> Any:
        """The variables as the library needs them, if `tree`, which reads `names`, can be afforded.

        Raises EvaluationError otherwise, before any evaluation.
        """
        cost = estimate(tree, {name: self._bounds_of(name) for name in names}, self._meter)
        if cost > self._budget:
            raise EvaluationError(
                "over the cost bound: the object is too large for this many loops and matches"
            )
        self._budget -= cost
        if self._values is None:
            self._values = _environment().Activation(self._variables)
        return self._values

    def _bounds_of(self, name: str) -> SizeBounds:
        if name not in self._bounds:
            try:
                self._bounds[name] = self._meter.take(self._variables[name])
            except TooMuchError as error:
                # Kept, so that the next expression does not measure the variable again.
                self._bounds[name] = error
        bounds = self._bounds[name]
        if isinstance(bounds, TooMuchError):
            raise EvaluationError(f"over the cost bound, or not JSON: in {name}, {bounds}")
        return bounds


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression. Evaluations share no other state."""

    source: str
    _program: Any
    _tree: Node
    _names: Set[str]

    @classmethod
    def compile(cls, source: str, result: type[bool] | type[str] = bool) -> "Expression":
        """Compile `source`, which returns `result`: bool for a condition, str for a message.

        Raises ExpressionError.
        """
        if len(source) > _MAX_CHARACTERS:
            raise ExpressionError(f"longer than {_MAX_CHARACTERS} characters")
        try:
            program = _environment().compile(source)
            return_type = program.return_type()
            tree = read(program.serialize())
        except Exception as error:
            raise ExpressionError(_problems(error)) from None
        if return_type != _TYPES[result]:
            raise ExpressionError(_wrong_type(result, return_type.name()))
        _check(tree)
        names = {node.name for node in nodes(tree) if isinstance(node, Name)}
        return cls(source, program, tree, names.intersection(VARIABLES))

    def holds(self, activation: Activation) -> bool:
        """The condition is true. Raises only EvaluationError."""
        return bool(self._evaluated(activation, bool))

    def text(self, activation: Activation) -> str:
        """The message. Raises only EvaluationError."""
        return str(self._evaluated(activation, str))

    def _evaluated(self, activation: Activation, result: type[bool] | type[str]) -> Any:
        values = activation.admit(self._tree, self._names)
        try:
            value = self._program.eval(values)
            value_type = value.type()
            plain = None
            # Never ask for the value of a null: in Python 3.11 the library drops a reference to
            # None with each one, which ends in a crash.
            if value_type in (_TYPES[result], cel.Type.ERROR):
                plain = value.value()
        except Exception as error:
            raise EvaluationError(_reason(str(error))) from None
        if value_type == cel.Type.ERROR:
            raise EvaluationError(_reason(str(plain)))
        if plain is None:
            raise EvaluationError(f"not of type {_TYPES[result].name()}, but {value_type.name()}")
        return plain


_TYPES = {bool: cel.Type.BOOL, str: cel.Type.STRING}


@cache
def _environment() -> Any:
    """The variables and functions of Kubernetes 1.32."""
    return cel.NewEnv(
        config=cel.NewEnvConfigFromYaml("extensions: [{name: sets}]"),
        variables=dict.fromkeys(VARIABLES, cel.Type.DYN),
        extensions=[ext_strings.ExtStrings(version=_STRINGS), ext_optional.ExtOptional()],
    )


def _wrong_type(result: type[bool] | type[str], actual: str) -> str:
    example = "a comparison" if result is bool else "string(...)"
    description = "of unknown type until it is evaluated" if actual == "DYN" else actual
    return f"must be of type {_TYPES[result].name()}, is {description}; write {example}"


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
            "the pattern of matches must be a constant: a pattern from the object could be costly"
        )
    if compilation(pattern.text) > _MAX_PATTERN:
        raise ExpressionError(
            f"the pattern {pattern.text[:50]!r} has too large repetitions or too many classes (\\p)"
        )


def _problems(error: Exception) -> str:
    """The errors of the compiler, each with its line and column."""
    problems = [
        f"line {line}, column {column}: {message}"
        for line, column, message in _PROBLEM.findall(str(error))
    ]
    joined = "; ".join(dict.fromkeys(problems)).replace(" (in container '')", "")
    return joined or _reason(str(error))


def _reason(message: str) -> str:
    return _STATUS.sub("", message)[:_MAX_REASON]
