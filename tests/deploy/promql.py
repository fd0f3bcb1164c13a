"""Analyzes PromQL expressions: the series and labels they use, and the labels of their result."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

import promql_parser as promql

# Prometheus adds these labels to what it scrapes through a ServiceMonitor.
TARGET = frozenset({"job", "instance", "namespace", "pod", "service", "endpoint", "container"})

# For each series, the values of each label; an empty set stands for any value.
Series = Mapping[str, Mapping[str, Set[str]]]

# Grafana replaces these variables by a duration that depends on the screen.
_VARIABLE = re.compile(r"\$__(rate_)?interval")


def parse(text: str) -> promql.Expr:
    """The expression, with a duration in place of Grafana's variables; raises ValueError."""
    return promql.parse(_VARIABLE.sub("5m", text))


def selectors(expression: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Every selection of series in the expression."""
    return (part for part in _parts(expression) if isinstance(part, promql.VectorSelector))


def problems(expression: promql.Expr, series: Series) -> Iterator[str]:
    """The series, labels and label values in the expression that do not exist."""
    available: set[str] = set()
    for selector in selectors(expression):
        labels = series.get(selector.name or "")
        if labels is None:
            yield f"{selector.name} does not exist"
            continue
        available |= labels.keys()
        yield from _matcher_problems(selector, labels)
    for part in _parts(expression):
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            for label in part.modifier.labels:
                if label not in available:
                    yield f"no series in the query has the label {label}"


def _matcher_problems(
    selector: promql.VectorSelector, labels: Mapping[str, Set[str]]
) -> Iterator[str]:
    for matcher in selector.matchers.matchers:
        known_values = labels.get(matcher.name)
        if known_values is None:
            yield f"{selector.name} has no label {matcher.name}"
        elif known_values and not _all_known(matcher, known_values):
            yield f"{selector.name} never has {matcher}"


def result_labels(expression: Any, series: Series) -> Set[str]:
    """The labels of the expression's result."""
    match expression:
        case promql.VectorSelector():
            return series[expression.name or ""].keys()
        case promql.MatrixSelector():
            return result_labels(expression.vector_selector, series)
        case promql.AggregateExpr():
            return set(expression.modifier.labels) if expression.modifier else set()
        case promql.BinaryExpr():
            return result_labels(expression.lhs, series) | result_labels(expression.rhs, series)
        case promql.ParenExpr() | promql.UnaryExpr():
            return result_labels(expression.expr, series)
        case promql.Call():
            return _function_labels(expression, series)
    return set()


def _function_labels(call: promql.Call, series: Series) -> Set[str]:
    labels: set[str] = set()
    if call.func.name == "absent":
        return labels
    for argument in call.args:
        labels |= result_labels(argument, series)
    if call.func.name == "histogram_quantile":
        labels.discard("le")
    return labels


def _parts(expression: promql.Expr) -> list[promql.Expr]:
    parts: list[promql.Expr] = []
    promql.walk(expression, parts.append)
    return parts


def _all_known(matcher: promql.Matcher, known_values: Set[str]) -> bool:
    """Whether every alternative in the matcher matches a value that the label can have."""
    exact = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
    patterns = [re.escape(matcher.value)] if exact else matcher.value.split("|")
    return all(_matches_any(pattern, known_values) for pattern in patterns)


def _matches_any(pattern: str, values: Set[str]) -> bool:
    return any(re.fullmatch(pattern, value) for value in values)
