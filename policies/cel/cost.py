"""What an evaluation of a CEL expression may cost at most, estimated from its syntax tree and the sizes of its input.

The unit is a nanosecond of a slow machine; the weights were measured, and rounded up. Loops over parts of the input
are not multiplied blindly: a list inside the element of an outer loop is walked once for each element, so all walks
together are no longer than all such lists. `mult` keeps count of how often the same part of the input can come by.
"""

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from policies.cel.extent import VALUE, SizeBounds, SizeMeter
from policies.cel.tree import Call, Constant, Literal, Loop, Name, Node, Select

# The library ends an evaluation at so many rounds of all its loops together.
ROUNDS = 10_000
_STEP = 100
_COMPARED_AT_ONCE = 32
_PATTERN, _PATTERN_CHARACTER, _WILD, _UNICODE_CLASS = 4_000, 400, 4_000, 2_000_000
_ESCAPED = re.compile(r"\\[^pP]")
_REPETITION = re.compile(r"\{(\d{1,4})(?:,(\d{0,4}))?\}")

# Results as large as what they are made of, and results of no size; the numbers are the cost of each byte read.
_SAME = {
    "lowerAscii": 5, "upperAscii": 5, "trim": 5, "substring": 5, "charAt": 5, "string": 5, "bytes": 5, "_+_": 1,
    "strings.quote": 8, "dyn": 0, "value": 0, "orValue": 0, "or": 0, "optional.of": 0, "optional.ofNonZeroValue": 1,
}  # fmt: skip
_SMALL = {
    **dict.fromkeys(("contains", "indexOf", "lastIndexOf", "size"), 5),
    **dict.fromkeys(
        ("startsWith", "endsWith", "bool", "int", "uint", "double", "duration", "timestamp"), 1
    ),
    **dict.fromkeys(("_<_", "_<=_", "_>_", "_>=_"), 1),
    **dict.fromkeys(
        ("!_", "-_", "_-_", "_*_", "_/_", "_%_", "_&&_", "_||_", "@not_strictly_false"), 0
    ),
    **dict.fromkeys(("type", "optional.none", "hasValue"), 0),
    **dict.fromkeys(
        (f"get{part}" for part in ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek")), 1
    ),
    **dict.fromkeys(
        (f"get{part}" for part in ("DayOfYear", "Hours", "Minutes", "Seconds", "Milliseconds")), 1
    ),
}
_SELECTIONS = ("_[_]", "_[?_]", "_?._")
_SETS = ("sets.contains", "sets.equivalent", "sets.intersects")
_SPECIAL = (
    "_==_",
    "_!=_",
    "@in",
    "_?_:_",
    "matches",
    "split",
    "replace",
    "join",
    "format",
    *_SELECTIONS,
    *_SETS,
)
FUNCTIONS = frozenset((*_SAME, *_SMALL, *_SPECIAL))


def estimate(node: Node, variables: dict[str, SizeBounds], measure: SizeMeter) -> int:
    """Nanoseconds one evaluation may take at most; `measure` is of all `variables` together."""
    reckoning = _CostEstimator(measure)
    inputs = {name: _stored(extent, 1) for name, extent in variables.items()}
    reckoning.share(node, _Scope(1, inputs))
    return reckoning.cost


class _ValueBounds(NamedTuple):
    """What a node's values may be over all its evaluations: an Extent, `mult`, and whether they are parts of the input.

    `total` counts every value once; each may come `mult` times.
    """

    each: int = VALUE
    total: int = VALUE
    text: int = 0
    items: int = 0
    members: int = 0
    mult: int = 1
    stored: bool = False

    def over(self, runs: int) -> int:
        """The size of the values of all evaluations together."""
        return min(self.each * runs, self.total * self.mult)


@dataclass(frozen=True, slots=True)
class _Scope:
    """How often the nodes of one loop body may be evaluated, and what its names stand for."""

    runs: int
    names: dict[str, _ValueBounds]


def _stored(extent: SizeBounds, mult: int) -> _ValueBounds:
    return _ValueBounds(
        extent.each, extent.total, extent.text, extent.items, extent.members, mult, stored=True
    )


def _made(
    runs: int, each: int, text: int = 0, items: int = 0, total: int | None = None
) -> _ValueBounds:
    """The share of a value that is made anew in every evaluation."""
    return _ValueBounds(each, each * runs if total is None else total, text, items, items * runs)


@dataclass(slots=True)
class _CostEstimator:
    measure: SizeMeter
    cost: int = field(default=0)

    def share(self, node: Node, scope: _Scope) -> _ValueBounds:
        """What `node` may be in `scope`; adds what it costs to come by it."""
        self.cost += scope.runs * _STEP
        match node:
            case Constant(text):
                return _made(scope.runs, VALUE + 4 * len(text), 4 * len(text))
            case Name(name):
                # What is no variable is the name of a type.
                return scope.names.get(name) or _ValueBounds()
            case Select(operand, name):
                return self._part(self.share(operand, scope), name)
            case Literal(elements):
                return self._literal([self.share(element, scope) for element in elements], scope)
            case Loop():
                return self._loop(node, scope)
            case Call(function, arguments):
                return self._call(
                    node,
                    function,
                    [self.share(argument, scope) for argument in arguments],
                    scope.runs,
                )

    def _part(self, whole: _ValueBounds, key: str | None) -> _ValueBounds:
        """A value in `whole`: what stands under `key` in the input, or anything."""
        if whole.stored and key is not None:
            return _stored(self.measure.keys.get(key) or SizeBounds(), whole.mult)
        # No value is smaller than VALUE, so there cannot be more of them.
        return whole._replace(items=whole.each // VALUE, members=whole.total // VALUE)

    def _literal(self, elements: list[_ValueBounds], scope: _Scope) -> _ValueBounds:
        each = VALUE + sum(element.each for element in elements)
        total = VALUE * scope.runs + sum(element.over(scope.runs) for element in elements)
        return _made(
            scope.runs, each, max((e.text for e in elements), default=0), len(elements), total
        )

    def _loop(self, loop: Loop, scope: _Scope) -> _ValueBounds:
        source, start = self.share(loop.source, scope), self.share(loop.start, scope)
        rounds = 0 if loop.binds_only else min(source.items, ROUNDS)
        runs = min(ROUNDS, scope.runs * rounds, source.members * source.mult)
        outside = {
            name: share._replace(mult=share.mult * max(rounds, 1))
            for name, share in scope.names.items()
        }
        body = _Scope(
            runs, {**outside, loop.variable: self._part(source, None), loop.accumulator: start}
        )
        self.share(loop.condition, body)
        step = self.share(loop.step, body)
        ended = start if loop.binds_only else step
        if isinstance(loop.start, Literal):
            # `map` and `filter` copy the list they have so far in every round.
            self.cost += runs * rounds * VALUE
            made = step.over(runs)
            ended = _ValueBounds(
                min(rounds * step.each, made) + VALUE,
                made + VALUE * scope.runs,
                step.text,
                rounds,
                runs,
            )
        return self.share(loop.result, _Scope(scope.runs, {**scope.names, loop.accumulator: ended}))

    def _call(
        self, call: Call, function: str, given: list[_ValueBounds], runs: int
    ) -> _ValueBounds:
        whole = sum(share.over(runs) for share in given)
        strings = sum(min(share.over(runs), runs * (VALUE + share.text)) for share in given)
        if function in ("contains", "indexOf", "lastIndexOf"):
            # Every place of the one may be compared with all of the other.
            self.cost += runs * given[0].text * given[1].text // _COMPARED_AT_ONCE
        if function in _SMALL:
            self.cost += _SMALL[function] * strings
            return _made(runs, VALUE)
        if function in _SELECTIONS:
            key = call.arguments[1]
            # A key that is not there is hashed, and quoted in the error.
            self.cost += (
                0
                if isinstance(key, Constant)
                else 40 * min(given[1].over(runs), runs * given[1].text)
            )
            return self._part(given[0], (key.text or None) if isinstance(key, Constant) else None)
        if function in ("_==_", "_!=_"):
            self.cost += min(share.over(runs) for share in given)
            return _made(runs, VALUE)
        if function == "_?_:_":
            return _either(given[1], given[2])
        if function in _SAME:
            self.cost += _SAME[function] * whole
            return given[0] if len(given) == 1 else _together(given, runs)
        return self._expensive(call, function, given, runs, whole, strings)

    def _expensive(
        self,
        call: Call,
        function: str,
        given: list[_ValueBounds],
        runs: int,
        whole: int,
        strings: int,
    ) -> _ValueBounds:
        first = given[0]
        match function:
            case "matches":
                pattern = call.arguments[-1]
                assert isinstance(pattern, Constant)
                self.cost += 40 * strings + runs * compilation(pattern.text)
            case "split":
                self.cost += 100 * strings
                return _made(
                    runs, VALUE + (first.text + 1) * (VALUE + 1), first.text, first.text + 1
                )
            case "replace":
                length = first.text + (first.text + 1) * given[2].text
                self.cost += 40 * (strings + runs * length)
                return _made(runs, VALUE + length, length)
            case "join":
                length = first.each + first.items * (given[1].text if len(given) > 1 else 0)
                self.cost += 5 * runs * length
                return _made(runs, VALUE + length, length)
            case "format":
                length = 100 * first.text + 4 * given[1].each
                self.cost += 5 * runs * length
                return _made(runs, VALUE + length, length)
            case _ if function in _SETS:
                self.cost += (
                    2 * runs * (given[0].items * given[1].each + given[1].items * given[0].each)
                )
            case _:
                self.cost += whole
        return _made(runs, VALUE)


def _either(one: _ValueBounds, other: _ValueBounds) -> _ValueBounds:
    return _ValueBounds(
        max(one.each, other.each),
        one.total + other.total,
        max(one.text, other.text),
        max(one.items, other.items),
        one.members + other.members,
        max(one.mult, other.mult),
        one.stored and other.stored,
    )


def _together(given: list[_ValueBounds], runs: int) -> _ValueBounds:
    """Strings or lists put one after the other."""
    each, text, items = (sum(share[place] for share in given) for place in (0, 2, 3))
    return _made(runs, each, text, items, sum(share.over(runs) for share in given))


def compilation(pattern: str) -> int:
    """Nanoseconds to compile a regular expression, which the library does for every match; `x{9}` is nine times x."""
    plain = _ESCAPED.sub("x", pattern)
    repeated = 1
    for least, most in _REPETITION.findall(plain):
        count = max(int(most or least), 1)
        # Repetitions of a group may have others inside.
        repeated = repeated * count if "){" in plain else repeated + count
    wild, classes = plain.count(".") + plain.count("[^"), plain.lower().count("\\p")
    heavy = _PATTERN + wild * _WILD + classes * _UNICODE_CLASS
    return heavy * repeated + _PATTERN_CHARACTER * len(pattern)
