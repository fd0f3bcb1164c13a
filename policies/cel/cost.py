"""An upper bound on the cost of one evaluation of a CEL expression.

It is computed from the expression's syntax tree and the sizes of its input. The unit is a
nanosecond of a slow machine; the weights were measured and rounded up.

A simpler bound, rounds times bytes, does not work. If it is safe for every function, it is hundreds
of times too high for common expressions, and would refuse them on ordinary objects.

Nested loops over the input are not simply multiplied. If an inner loop walks a list inside the
element of the outer loop, each list is walked once, so all rounds together are at most the elements
of all such lists. `_ValueBounds.repeats` counts how often the same part of the input can come up.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from policies.cel.extent import VALUE, SizeBounds, SizeMeter
from policies.cel.tree import Call, Constant, Literal, Loop, Name, Node, Select

# The library ends an evaluation after this many rounds of all its loops together.
ROUNDS = 10_000
# The cost of a node besides the bytes it reads.
_STEP = 100
# A search compares this many bytes in a nanosecond.
_COMPARED_AT_ONCE = 32
# Compilation of a pattern: its base, each character, each wildcard, and each Unicode class, which
# is very large once compiled.
_PATTERN, _PATTERN_CHARACTER, _WILDCARD, _UNICODE_CLASS = 4_000, 400, 4_000, 2_000_000
_ESCAPED = re.compile(r"\\[^pP]")
_REPETITION = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}")

# Functions whose result is as large as their arguments, with the cost of each byte they read.
_SAME_SIZE = {
    "lowerAscii": 5, "upperAscii": 5, "trim": 5, "substring": 5, "charAt": 5, "string": 5,
    "bytes": 5, "_+_": 1, "strings.quote": 8, "dyn": 0, "value": 0, "orValue": 0, "or": 0,
    "optional.of": 0, "optional.ofNonZeroValue": 1,
}  # fmt: skip
# Functions whose result has a constant size, with the cost of each byte they read.
_CONSTANT_SIZE = {
    "contains": 5, "indexOf": 5, "lastIndexOf": 5, "size": 5, "startsWith": 1, "endsWith": 1,
    "bool": 1, "int": 1, "uint": 1, "double": 1, "duration": 1, "timestamp": 1,
    "_<_": 1, "_<=_": 1, "_>_": 1, "_>=_": 1, "!_": 0, "-_": 0, "_-_": 0, "_*_": 0, "_/_": 0,
    "_%_": 0, "_&&_": 0, "_||_": 0, "@not_strictly_false": 0,
    "type": 0, "optional.none": 0, "hasValue": 0,
    "getFullYear": 1, "getMonth": 1, "getDate": 1, "getDayOfMonth": 1, "getDayOfWeek": 1,
    "getDayOfYear": 1, "getHours": 1, "getMinutes": 1, "getSeconds": 1, "getMilliseconds": 1,
}  # fmt: skip
_SEARCHES = ("contains", "indexOf", "lastIndexOf")
_SELECTIONS = ("_[_]", "_[?_]", "_?._")
_EQUALITY = ("_==_", "_!=_")
_SETS = ("sets.contains", "sets.equivalent", "sets.intersects")
_OTHERS = ("@in", "_?_:_", "matches", "split", "replace", "join", "format")
# An expression that calls any other function is refused: its cost is unknown.
FUNCTIONS = frozenset((*_SAME_SIZE, *_CONSTANT_SIZE, *_OTHERS, *_EQUALITY, *_SELECTIONS, *_SETS))


def estimate(node: Node, variables: dict[str, SizeBounds], meter: SizeMeter) -> int:
    """The most nanoseconds that one evaluation may take.

    `meter` has measured all `variables` together.
    """
    estimator = _CostEstimator(meter)
    inputs = {name: _from_input(bounds, 1) for name, bounds in variables.items()}
    estimator.bounds_of(node, _Scope(1, inputs))
    return estimator.cost


class _ValueBounds(NamedTuple):
    """Bounds on the values of one node over all its evaluations.

    The first five fields are those of SizeBounds. `total` counts each value once; each may come up
    `repeats` times. `is_input` is true for parts of the input.
    """

    each: int = VALUE
    total: int = VALUE
    text: int = 0
    items: int = 0
    members: int = 0
    repeats: int = 1
    is_input: bool = False

    def over(self, runs: int) -> int:
        """The size of the values of `runs` evaluations together."""
        return min(self.each * runs, self.total * self.repeats)


@dataclass(frozen=True, slots=True)
class _Scope:
    """How often the nodes of one loop body are evaluated at most, and the bounds of its names."""

    runs: int
    names: dict[str, _ValueBounds]


def _from_input(bounds: SizeBounds, repeats: int) -> _ValueBounds:
    return _ValueBounds(
        bounds.each,
        bounds.total,
        bounds.text,
        bounds.items,
        bounds.members,
        repeats,
        is_input=True,
    )


def _new_value(
    runs: int, each: int, text: int = 0, items: int = 0, total: int | None = None
) -> _ValueBounds:
    """The bounds of a value that every evaluation creates anew."""
    if total is None:
        total = each * runs
    return _ValueBounds(each, total, text, items, items * runs)


@dataclass(slots=True)
class _CostEstimator:
    """Walks the tree once and adds up the cost of all nodes."""

    meter: SizeMeter
    cost: int = 0

    def bounds_of(self, node: Node, scope: _Scope) -> _ValueBounds:
        """The bounds of the values of `node` in `scope`. Adds the cost of computing them."""
        self.cost += scope.runs * _STEP
        match node:
            case Constant(text):
                # UTF-8 takes at most four bytes for a character.
                return _new_value(scope.runs, VALUE + 4 * len(text), 4 * len(text))
            case Name(name):
                # A name that is not a variable is the name of a type.
                return scope.names.get(name) or _ValueBounds()
            case Select(operand, name):
                return self._part_of(self.bounds_of(operand, scope), name)
            case Literal(elements):
                return self._literal([self.bounds_of(each, scope) for each in elements], scope)
            case Loop():
                return self._loop(node, scope)
            case Call():
                arguments = [self.bounds_of(argument, scope) for argument in node.arguments]
                return self._call(node, arguments, scope.runs)

    def _part_of(self, whole: _ValueBounds, key: str | None) -> _ValueBounds:
        """The bounds of a value in `whole`: under `key`, or anywhere if `key` is None."""
        if whole.is_input and key is not None:
            return _from_input(self.meter.keys.get(key) or SizeBounds(), whole.repeats)
        # No value is smaller than VALUE, which limits their number.
        return whole._replace(items=whole.each // VALUE, members=whole.total // VALUE)

    def _literal(self, elements: list[_ValueBounds], scope: _Scope) -> _ValueBounds:
        each = VALUE + sum(element.each for element in elements)
        total = VALUE * scope.runs + sum(element.over(scope.runs) for element in elements)
        text = max((element.text for element in elements), default=0)
        return _new_value(scope.runs, each, text, len(elements), total)

    def _loop(self, loop: Loop, scope: _Scope) -> _ValueBounds:
        source, start = self.bounds_of(loop.source, scope), self.bounds_of(loop.start, scope)
        rounds = 0 if loop.binds_only else min(source.items, ROUNDS)
        runs = min(ROUNDS, scope.runs * rounds, source.members * source.repeats)
        names = {
            name: bounds._replace(repeats=bounds.repeats * max(rounds, 1))
            for name, bounds in scope.names.items()
        }
        names[loop.variable] = self._part_of(source, None)
        names[loop.accumulator] = start
        body = _Scope(runs, names)
        self.bounds_of(loop.condition, body)
        step = self.bounds_of(loop.step, body)
        end = start if loop.binds_only else step
        if isinstance(loop.start, Literal):
            # `map` and `filter` copy their list so far in every round.
            self.cost += runs * rounds * VALUE
            copied = step.over(runs)
            each = min(rounds * step.each, copied) + VALUE
            total = copied + VALUE * scope.runs
            end = _ValueBounds(each, total, step.text, rounds, runs)
        return self.bounds_of(
            loop.result, _Scope(scope.runs, {**scope.names, loop.accumulator: end})
        )

    def _call(self, call: Call, arguments: list[_ValueBounds], runs: int) -> _ValueBounds:
        function = call.function
        if function in _SEARCHES:
            # Every position of the first string may be compared with all of the second.
            self.cost += runs * arguments[0].text * arguments[1].text // _COMPARED_AT_ONCE
        if function in _CONSTANT_SIZE:
            self.cost += _CONSTANT_SIZE[function] * _string_bytes(arguments, runs)
            return _new_value(runs, VALUE)
        if function in _SAME_SIZE:
            self.cost += _SAME_SIZE[function] * _all_bytes(arguments, runs)
            return arguments[0] if len(arguments) == 1 else _concatenation(arguments, runs)
        if function in _SELECTIONS:
            return self._selection(call, arguments, runs)
        if function == "_?_:_":
            return _either(arguments[1], arguments[2])
        if function in ("split", "replace", "join", "format"):
            return self._new_string(function, arguments, runs)
        self.cost += _comparison_cost(call, arguments, runs)
        return _new_value(runs, VALUE)

    def _selection(self, call: Call, arguments: list[_ValueBounds], runs: int) -> _ValueBounds:
        whole, key_bounds = arguments
        key = call.arguments[1]
        if isinstance(key, Constant):
            return self._part_of(whole, key.text or None)
        # A missing key is hashed, and quoted in the error.
        self.cost += 40 * min(key_bounds.over(runs), runs * key_bounds.text)
        return self._part_of(whole, None)

    def _new_string(self, function: str, arguments: list[_ValueBounds], runs: int) -> _ValueBounds:
        """Functions whose result may be far larger than their arguments."""
        first = arguments[0]
        if function == "split":
            self.cost += 100 * _string_bytes(arguments, runs)
            # One string for each character, for an empty separator.
            parts = first.text + 1
            return _new_value(runs, VALUE + parts * (VALUE + 1), first.text, parts)
        if function == "replace":
            # A replacement at every position, for an empty pattern.
            length = first.text + (first.text + 1) * arguments[2].text
            self.cost += 40 * (_string_bytes(arguments, runs) + runs * length)
            return _new_value(runs, VALUE + length, length)
        if function == "join":
            separator = arguments[1].text if len(arguments) > 1 else 0
            length = first.each + first.items * separator
        else:
            # One character of the format string may produce a hundred characters of the result.
            length = 100 * first.text + 4 * arguments[1].each
        self.cost += 5 * runs * length
        return _new_value(runs, VALUE + length, length)


def _comparison_cost(call: Call, arguments: list[_ValueBounds], runs: int) -> int:
    """The cost of equality, `in`, `matches` and the functions on sets."""
    if call.function in _EQUALITY:
        # The comparison ends with the smaller value.
        return min(bounds.over(runs) for bounds in arguments)
    if call.function == "matches":
        pattern = call.arguments[-1]
        assert isinstance(pattern, Constant)
        return 40 * _string_bytes(arguments, runs) + runs * compilation(pattern.text)
    if call.function in _SETS:
        # Every element of one list is compared with every element of the other.
        first, second = arguments
        return 2 * runs * (first.items * second.each + second.items * first.each)
    return _all_bytes(arguments, runs)


def _all_bytes(arguments: list[_ValueBounds], runs: int) -> int:
    return sum(bounds.over(runs) for bounds in arguments)


def _string_bytes(arguments: list[_ValueBounds], runs: int) -> int:
    """The bytes read by a function that only takes strings."""
    return sum(min(bounds.over(runs), runs * (VALUE + bounds.text)) for bounds in arguments)


def _either(first: _ValueBounds, second: _ValueBounds) -> _ValueBounds:
    return _ValueBounds(
        max(first.each, second.each),
        first.total + second.total,
        max(first.text, second.text),
        max(first.items, second.items),
        first.members + second.members,
        max(first.repeats, second.repeats),
        first.is_input and second.is_input,
    )


def _concatenation(arguments: list[_ValueBounds], runs: int) -> _ValueBounds:
    each = sum(bounds.each for bounds in arguments)
    text = sum(bounds.text for bounds in arguments)
    items = sum(bounds.items for bounds in arguments)
    return _new_value(runs, each, text, items, _all_bytes(arguments, runs))


def compilation(pattern: str) -> int:
    """Nanoseconds to compile a regular expression. The library compiles it for every match.

    `x{9}` counts as nine times x.
    """
    plain = _ESCAPED.sub("x", pattern)
    has_groups = "){" in plain
    repeated = 1
    for least, most in _REPETITION.findall(plain):
        count = max(int(most or least), 1)
        # Repetitions of a group may contain other repetitions, which multiplies them.
        repeated = repeated * count if has_groups else repeated + count
    wildcards = plain.count(".") + plain.count("[^")
    classes = plain.lower().count("\\p")
    heavy = _PATTERN + wildcards * _WILDCARD + classes * _UNICODE_CLASS
    return heavy * repeated + _PATTERN_CHARACTER * len(pattern)
