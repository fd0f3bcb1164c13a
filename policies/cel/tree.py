"""What a checked CEL expression is made of: as much of its syntax tree as an estimate of its cost needs.

`read` takes the tree as the library serializes it, a `cel.expr.CheckedExpr` in protobuf's wire format. Source:
`cel/expr/syntax.proto` and `checked.proto` (github.com/google/cel-spec).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

# The library wraps the CheckedExpr in a google.protobuf.Any.
_ANY_VALUE, _CHECKED_EXPRESSION, _STRING_CONSTANT = 2, 4, 6
# Macros that bind a value once (`optMap`) are loops over nothing.
_NO_VARIABLE = "#unused"


class _Kind(IntEnum):
    """The field of an Expr that is set."""

    CONSTANT = 3
    NAME = 4
    SELECT = 5
    CALL = 6
    LIST = 7
    STRUCT = 8
    LOOP = 9


class _Wire(IntEnum):
    """How a field's value is written."""

    VARINT = 0
    FIXED_64 = 1
    DELIMITED = 2
    FIXED_32 = 5


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal; `text` is empty where it is not a string."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A variable: of the request, of a loop, or the accumulator of one."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)`."""

    operand: "Node"
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or operator (`_==_`); what stands before the dot is the first argument."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A list or map with its elements, keys and values."""

    elements: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """What `all`, `exists`, `exists_one`, `map` and `filter` become: a fold of `step` over `source`."""

    variable: str
    source: "Node"
    accumulator: str
    start: "Node"
    condition: "Node"
    step: "Node"
    result: "Node"

    @property
    def binds_only(self) -> bool:
        """It goes round zero times."""
        return self.variable == _NO_VARIABLE


Node = Constant | Name | Select | Call | Literal | Loop


def read(serialized: bytes) -> Node:
    """The tree in a serialized CheckedExpr."""
    return _node(_message(_message(serialized, _ANY_VALUE), _CHECKED_EXPRESSION))


def nodes(node: Node) -> Iterator[Node]:
    """`node` and everything in it."""
    yield node
    for child in children(node):
        yield from nodes(child)


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Select(operand):
            return (operand,)
        case Call(_, inner) | Literal(inner):
            return inner
        case Loop(_, source, _, start, condition, step, result):
            return source, start, condition, step, result
    return ()


def nesting(node: Node) -> int:
    """How many loops are inside each other at the deepest place."""
    if isinstance(node, Loop) and not node.binds_only:
        inside = max(nesting(node.condition), nesting(node.step))
        return max(inside + 1, nesting(node.source), nesting(node.start), nesting(node.result))
    return max((nesting(child) for child in children(node)), default=0)


def _node(content: bytes) -> Node:
    for number, value in _fields(content):
        match number:
            case _Kind.CONSTANT:
                return Constant(
                    next(
                        (
                            text.decode()
                            for kind, text in _fields(value)
                            if kind == _STRING_CONSTANT
                        ),
                        "",
                    )
                )
            case _Kind.NAME:
                return Name(_text(value, 1))
            case _Kind.SELECT:
                return Select(_node(_message(value, 1)), _text(value, 2))
            case 6:
                # The target's number is before those of the arguments, and so is the target.
                return Call(
                    _text(value, 2),
                    tuple(_node(part) for kind, part in _fields(value) if kind in (1, 3)),
                )
            case _Kind.LIST | _Kind.STRUCT:
                return Literal(tuple(_elements(number, value)))
            case _Kind.LOOP:
                return _loop(value)
    raise ValueError("an expression of a kind that is not known here")


def _elements(kind: int, content: bytes) -> Iterator[Node]:
    for number, part in _fields(content):
        if kind == _Kind.LIST and number == 1:
            yield _node(part)
        elif kind == _Kind.STRUCT and number == 2:
            yield from (_node(side) for which, side in _fields(part) if which in (3, 4))


def _loop(content: bytes) -> Loop:
    source, start, condition, step, result = (
        _node(_message(content, number)) for number in (2, 4, 5, 6, 7)
    )
    return Loop(_text(content, 1), source, _text(content, 3), start, condition, step, result)


def _text(content: bytes, number: int) -> str:
    return _message(content, number).decode()


def _message(content: bytes, number: int) -> bytes:
    """The last field of this number; empty where there is none."""
    return next(
        (value for found, value in reversed(list(_fields(content))) if found == number), b""
    )


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values: bytes, or for a varint the number."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        match tag & 7:
            case _Wire.VARINT:
                value, at = _varint(content, at)
                yield tag >> 3, value
                continue
            case _Wire.DELIMITED:
                length, at = _varint(content, at)
            case _Wire.FIXED_64:
                length = 8
            case _Wire.FIXED_32:
                length = 4
            case _:
                raise ValueError("not a protobuf message")
        yield tag >> 3, content[at : at + length]
        at += length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[at]
        number, at, shift = number | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return number, at
