"""What an expression of PromQL asks for: which series, by which labels, and which labels come out of it."""

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

import promql_parser as promql

# Prometheus itself writes these, for what a ServiceMonitor has it scrape.
TARGET = frozenset({"job", "instance", "namespace", "pod", "service", "endpoint", "container"})

# By name, the values of each label; none where any may be.
Series = Mapping[str, Mapping[str, Set[str]]]

# What Grafana puts there depends on the screen.
_VARIABLE = re.compile(r"\$__(rate_)?interval")


def parse(text: str) -> promql.Expr:
    """The expression, with a duration in place of Grafana's variables; raises ValueError."""
    return promql.parse(_VARIABLE.sub("5m", text))


def selectors(expression: promql.Expr) -> Iterator[promql.VectorSelector]:
    """Every selection of series in it."""
    return (part for part in _parts(expression) if isinstance(part, promql.VectorSelector))


def problems(expression: promql.Expr, series: Series) -> Iterator[str]:
    """What it asks for and is not there."""
    offered: set[str] = set()
    for selector in selectors(expression):
        labels = series.get(selector.name or "")
        if labels is None:
            yield f"there is no {selector.name}"
            continue
        offered |= labels.keys()
        for matcher in selector.matchers.matchers:
            if matcher.name not in labels:
                yield f"{selector.name} has no label {matcher.name}"
            elif (known := labels[matcher.name]) and not _all_known(matcher, known):
                yield f"{selector.name} never has {matcher}"
    for part in _parts(expression):
        if isinstance(part, promql.AggregateExpr) and part.modifier:
            yield from (
                f"nothing here has the label {label}"
                for label in part.modifier.labels
                if label not in offered
            )


def left(expression: Any, series: Series) -> Set[str]:
    """The labels that come out of it."""
    match expression:
        case promql.VectorSelector():
            return series[expression.name or ""].keys()
        case promql.MatrixSelector():
            return left(expression.vector_selector, series)
        case promql.AggregateExpr():
            return set(expression.modifier.labels) if expression.modifier else set()
        case promql.BinaryExpr():
            return left(expression.lhs, series) | left(expression.rhs, series)
        case promql.ParenExpr() | promql.UnaryExpr():
            return left(expression.expr, series)
        case promql.Call() if expression.func.name != "absent":
            lost = {"le"} if expression.func.name == "histogram_quantile" else set()
            return {label for one in expression.args for label in left(one, series)} - lost
    return set()


def _parts(expression: promql.Expr) -> list[promql.Expr]:
    found: list[promql.Expr] = []
    promql.walk(expression, found.append)
    return found


def _all_known(matcher: promql.Matcher, known: Set[str]) -> bool:
    """Whether each value it names, and each alternative of a regular expression, is one there can be."""
    exact = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
    named = [re.escape(matcher.value)] if exact else matcher.value.split("|")
    return all(any(re.fullmatch(one, value) for value in known) for one in named)
