"""CEL expressions: the API server's verdicts, within the bounds on work."""

import time
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.cel.expression import (
    VARIABLES,
    Activation,
    EvaluationError,
    Expression,
    ExpressionError,
)
from tests.policies.cel.parity_cases import Case, cases
from tests.support.factory import Object
from tests.support.paths import FIXTURES

_names = st.sampled_from(
    ["metadata", "labels", "spec", "containers", "env", "name", "value", "userInfo", "groups", "é"]
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats()
    | st.text(max_size=3)
    | _names
)
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=12,
)
_LARGE = FIXTURES / "bench" / "raycluster-20k.json"


def verdict(case: Case) -> str:
    try:
        expression = Expression.compile(case.expression)
    except ExpressionError:
        return "refused"
    try:
        holds = expression.holds(Activation(case.variables("team-a")))
    except EvaluationError:
        return "error"
    return "allowed" if holds else "denied"


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_verdict_is_that_of_the_api_server(case: Case) -> None:
    assert verdict(case) == case.verdict


def holds(source: str, value: Any) -> bool:
    return Expression.compile(source).holds(Activation({"object": value}))


def problem(source: str, value: Any) -> str:
    with pytest.raises(EvaluationError) as caught:
        holds(source, value)
    return str(caught.value)


def test_a_message_is_a_string_expression() -> None:
    message = Expression.compile("'not ' + object.a", str)
    assert message.text(Activation({"object": {"a": "b"}})) == "not b"
    assert Expression.compile("'none'", str).text(Activation({})) == "none"
    with pytest.raises(EvaluationError, match='Key not found in map : "a"'):
        message.text(Activation({"object": {}}))
    with pytest.raises(ExpressionError, match="must be of type STRING, is BOOL"):
        Expression.compile("true", str)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "line 1, column 1: Syntax error"),
        ("object.a ==", "line 1, column 12: Syntax error"),
        ("true &&\n  objekt == 1", "line 2, column 3: undeclared reference to 'objekt'"),
        (
            "1 + 'a' == 2",
            "line 1, column 3: found no matching overload for '_+_' applied to '(int, string)'",
        ),
        ("object.a", "must be of type BOOL, is of unknown type until it is evaluated"),
        ("'a'", "must be of type BOOL, is STRING"),
        ("(" * 500 + "true" + ")" * 500, "recursion limit"),
        ("object" + ".a" * 100 + " == 1", "recursion depth"),
        ("true" + " || true" * 1_000, "longer than 4000 characters"),
        ("object.all(a, a.all(b, b.all(c, c.all(d, d.all(e, e == 1)))))", "more than 4 loops"),
        ("object.a.matches(object.b)", "must be a constant"),
        (r"object.a.matches('((a{100}){100}){100}')", "too large repetitions"),
        (r"object.a.matches('\\pL{100}')", "too many classes"),
        ("[1].all(object, .object.a == 1)", "write object without the dot before it"),
        ("cel.bind(x, 1, x == 1)", "undeclared reference"),
        ("quantity('1Gi').isGreaterThan(quantity('1Mi'))", "undeclared reference to 'quantity'"),
        ("object.a == 'é\ud800'", ""),
        ("true\0", "line 1, column 5"),
    ],
)
def test_an_invalid_expression_is_refused_with_its_place(source: str, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        Expression.compile(source)
    assert message in str(caught.value)


@given(st.text(st.sampled_from("object.ab[]{}()'\"!&|=<>?:,+-*/%12 \\\0é")) | st.text())
@settings(max_examples=300)
def test_any_text_compiles_or_is_refused(source: str) -> None:
    try:
        Expression.compile(source)
    except ExpressionError as error:
        assert str(error)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (nested(10_000), "nested deeper than 100 levels"),
        ([nested(101)], "nested deeper than 100 levels"),
        (list(range(100_000)), "more than 20000 values"),
        (["x" * 100_000] * 30, "more than 2000000 bytes"),
        ({"a": "b\0c"}, "NUL"),
        ({"a\0b": 1}, "NUL"),
        ({1: 2}, "a key is not a string"),
        (2**64, "more than 64 bits"),
        (-(2**63) - 1, "more than 64 bits"),
        (b"x", "type bytes is not JSON"),
        ((1, 2), "type tuple is not JSON"),
    ],
)
def test_a_value_that_is_too_large_or_not_json_never_reaches_the_library(
    value: Any, message: str
) -> None:
    assert message in problem("object != null || true", value)


def test_a_variable_that_is_not_read_is_not_limited() -> None:
    values = Activation({"object": {"a": 1}, "oldObject": nested(10_000)})
    assert Expression.compile("object.a == 1").holds(values)
    for _ in range(2):
        with pytest.raises(EvaluationError, match="in oldObject, nested deeper"):
            Expression.compile("object == oldObject").holds(values)


def test_a_nul_character_does_not_make_two_strings_equal() -> None:
    assert "NUL" in problem("object.image == 'good'", {"image": "good\0evil"})


def test_a_string_that_is_not_unicode_is_an_error() -> None:
    assert problem("object == 'a'", "\ud800")


# Expressions, each with the object that makes it most costly.
_HOSTILE: list[tuple[str, Any]] = [
    ("object.all(x, object.all(y, x != y || true))", list(range(9_999))),
    ("object.all(x, !(x in object) || true)", [f"{'x' * 90}{n}" for n in range(9_999)]),
    ("object.map(x, x).size() >= 0", list(range(9_999))),
    ("object.filter(x, true).map(y, y).size() >= 0", ["x" * 100] * 1_000),
    ("object.l.all(x, object.s.contains('aab') || true)", {"l": [0] * 9_999, "s": "a" * 1_500_000}),
    (
        "object.l.all(x, object.s.matches('(a|aa)+b') || true)",
        {"l": [0] * 9_999, "s": "a" * 1_500_000},
    ),
    ("object.all(x, x.matches('^[a-z]{1,60}$') || true)", ["x" * 50] * 9_999),
    (
        "object.all(k, object[k].matches('.{0,60}b') || true)",
        {f"k{n}": "a" * 100 for n in range(9_000)},
    ),
    ("object.s.replace('', object.s).size() >= 0", {"s": "a" * 1_500_000}),
    ("object.s.split('').map(x, x).size() >= 0", {"s": "a" * 9_999}),
    (
        "[object].map(x, x + x).map(x, x + x).map(x, x + x).map(x, x + x).all(x, x.contains('b'))",
        "a" * 1_500_000,
    ),
    ("object.all(x, '%s'.format([object]) != '')", list(range(9_999))),
    ("object.all(x, object.join(',') != '')", ["x" * 100] * 9_999),
    ("sets.contains(object, object)", [f"{n}" for n in range(9_999)]),
    ("object.all(a, a.all(b, object.all(c, c.all(d, b == d)))) || true", [list(range(99))] * 99),
]


@pytest.mark.parametrize(("source", "value"), _HOSTILE)
def test_a_hostile_object_is_refused_before_it_is_evaluated(source: str, value: Any) -> None:
    expression, values = Expression.compile(source), Activation({"object": value})
    started = time.monotonic()
    for _ in range(3):
        with pytest.raises(EvaluationError, match=r"over the cost bound|Iteration budget exceeded"):
            expression.holds(values)
    assert time.monotonic() - started < 1


def test_the_expressions_of_a_request_share_one_budget() -> None:
    expression = Expression.compile("object.all(x, x.matches('^[a-z]{1,9}$'))")
    values = Activation({"object": ["abc"] * 200})
    started = time.monotonic()
    assert expression.holds(values)
    with pytest.raises(EvaluationError, match="over the cost bound"):
        for _ in range(1_000):
            expression.holds(values)
    assert time.monotonic() - started < 1
    assert expression.holds(Activation({"object": ["abc"]}))


def test_a_real_object_is_well_within_the_budget() -> None:
    review = orjson.loads(_LARGE.read_bytes())
    values = Activation({"object": review["request"]["object"], "request": review["request"]})
    containers = "object.spec.workerGroupSpecs.all(g, g.template.spec.containers.all(c, {}))"
    for condition in (
        "c.image.matches('^[a-z0-9./-]+:[0-9.]+$') || true",
        "!has(c.env) || c.env.all(e, e.name != 'X')",
        "c.image.split(':').size() == 2 || true",
    ):
        expression = Expression.compile(containers.format(condition))
        for _ in range(10):
            assert expression.holds(values)


_EXPRESSIONS = [
    Expression.compile(source)
    for source in (
        "object.metadata.labels.all(k, object.metadata.labels[k] != '')",
        "object.spec.containers.all(c, c.env.exists(e, e.name == e.value))",
        "object.map(x, x).size() > 0",
        "object.filter(x, x.name == 'a').map(y, y.env).size() == 1",
        "object == oldObject",
        "object.env.matches('a+') || object.name.split('').join('-') == ''",
        "object.?spec.?containers.orValue([]).exists_one(c, c == 1)",
        "object.name.lowerAscii().replace('a', 'b').substring(1).trim().indexOf('b') > 0",
        "'%s %d'.format([object.name, object.value]) != ''",
        "int(object.value) + 1 < 5 || double(object.value) > 1.5",
        "type(object) == map || size(object) > 3",
        "sets.intersects(object.containers, [1, 2])",
        "object[0] == object['name'] || 'env' in object",
        "object < oldObject || object + oldObject != object",
        "timestamp(object.value) < timestamp('2026-11-20T00:00:00Z')",
        "request.userInfo.groups.exists(g, g in object.env)",
    )
]


@given(st.fixed_dictionaries({name: _json for name in VARIABLES}))
@settings(max_examples=200)
def test_any_object_gives_an_answer_or_an_evaluation_error(variables: Object) -> None:
    values = Activation(variables)
    for expression in _EXPRESSIONS:
        try:
            assert expression.holds(values) in (True, False)
        except EvaluationError as error:
            assert str(error)
