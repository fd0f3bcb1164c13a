"""The syntax tree of a checked CEL expression, as far as the estimate of its cost needs it.

The library gives access to the tree only in serialized form, as a `cel.expr.CheckedExpr` in the
wire format of protobuf. `read` parses it. Source: `cel/expr/syntax.proto` and
`cel/expr/checked.proto` (github.com/google/cel-spec).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

# The library wraps the CheckedExpr in a google.protobuf.Any.
_ANY_VALUE, _CHECKED_EXPRESSION, _STRING_CONSTANT = 2, 4, 6
# Macros that bind a value once (`optMap`) become loops over an empty list, with this variable.
_NO_VARIABLE = "#unused"


class _Kind(IntEnum):
    """The numbers of the fields of `Expr`. Exactly one of them is set."""

    CONSTANT = 3
    NAME = 4
    SELECT = 5
    CALL = 6
    LIST = 7
    STRUCT = 8
    LOOP = 9


class _Wire(IntEnum):
    """The wire types of protobuf."""

    VARINT = 0
    FIXED_64 = 1
    DELIMITED = 2
    FIXED_32 = 5


@dataclass(frozen=True, slots=True)
class Constant:
    """A literal. `text` is empty if it is not a string."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A variable of the request or of a loop, or a loop's accumulator."""

    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`operand.field`, or `has(operand.field)`."""

    operand: "Node"
    field: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function or an operator (`_==_`). The receiver of a method is the first argument."""

    function: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Literal:
    """A list or map literal, with its elements, or its keys and values."""

    elements: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """A fold of `step` over `source`, into which `all`, `exists`, `map` and the like expand."""

    variable: str
    source: "Node"
    accumulator: str
    start: "Node"
    condition: "Node"
    step: "Node"
    result: "Node"

    @property
    def binds_only(self) -> bool:
        """It has no rounds."""
        return self.variable == _NO_VARIABLE


Node = Constant | Name | Select | Call | Literal | Loop


def read(serialized: bytes) -> Node:
    """The tree in a serialized CheckedExpr."""
    return _node(_message(_message(serialized, _ANY_VALUE), _CHECKED_EXPRESSION))


def nodes(node: Node) -> Iterator[Node]:
    """`node` and all nodes below it."""
    yield node
    for child in children(node):
        yield from nodes(child)


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below `node`."""
    match node:
        case Select(operand):
            return (operand,)
        case Call(_, nested) | Literal(nested):
            return nested
        case Loop(_, source, _, start, condition, step, result):
            return source, start, condition, step, result
    return ()


def nesting(node: Node) -> int:
    """The depth of the deepest nested loop."""
    if isinstance(node, Loop) and not node.binds_only:
        inside = max(nesting(node.condition), nesting(node.step))
        return max(inside + 1, nesting(node.source), nesting(node.start), nesting(node.result))
    return max((nesting(child) for child in children(node)), default=0)


def _node(content: bytes) -> Node:
    for number, value in _fields(content):
        match number:
            case _Kind.CONSTANT:
                return Constant(_text(value, _STRING_CONSTANT))
            case _Kind.NAME:
                return Name(_text(value, 1))
            case _Kind.SELECT:
                return Select(_node(_message(value, 1)), _text(value, 2))
            case _Kind.CALL:
                # Fields are serialized in the order of their numbers: the receiver (1) comes
                # before the arguments (3).
                arguments = [_node(part) for field, part in _fields(value) if field in (1, 3)]
                return Call(_text(value, 2), tuple(arguments))
            case _Kind.LIST | _Kind.STRUCT:
                return Literal(tuple(_elements(number, value)))
            case _Kind.LOOP:
                return _loop(value)
    raise ValueError("an expression of an unknown kind")


def _elements(kind: int, content: bytes) -> Iterator[Node]:
    for number, part in _fields(content):
        if kind == _Kind.LIST and number == 1:
            yield _node(part)
        elif kind == _Kind.STRUCT and number == 2:
            # The key (3) and the value (4) of an entry.
            yield from (_node(side) for field, side in _fields(part) if field in (3, 4))


def _loop(content: bytes) -> Loop:
    source, start, condition, step, result = (
        _node(_message(content, number)) for number in (2, 4, 5, 6, 7)
    )
    return Loop(_text(content, 1), source, _text(content, 3), start, condition, step, result)


def _text(content: bytes, number: int) -> str:
    return _message(content, number).decode()


def _message(content: bytes, number: int) -> bytes:
    """The last field with this number; empty if there is none."""
    last = b""
    for field, value in _fields(content):
        if field == number:
            last = value
    return last


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers of a message's fields, with their values: an int for a varint, else bytes."""
    position = 0
    while position < len(content):
        # A tag is the field's number and, in its last three bits, its wire type.
        tag, position = _varint(content, position)
        match tag & 7:
            case _Wire.VARINT:
                value, position = _varint(content, position)
                yield tag >> 3, value
                continue
            case _Wire.DELIMITED:
                length, position = _varint(content, position)
            case _Wire.FIXED_64:
                length = 8
            case _Wire.FIXED_32:
                length = 4
            case _:
                raise ValueError("not a protobuf message")
        yield tag >> 3, content[position : position + length]
        position += length


def _varint(content: bytes, position: int) -> tuple[int, int]:
    """The number at `position`, seven bits a byte from the lowest, and the position after it."""
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position += 1
        shift += 7
        if byte < 128:
            return number, position
