"""The tables for troubleshooting quote only messages that are printed."""

import ast
import re
from collections.abc import Iterator
from functools import cache

import pytest

from tests.support.paths import REPOSITORY
from tests.support.troubleshooting import messages

TABLES = [
    ("deploy/TROUBLESHOOTING.md", "# Troubleshooting"),
    ("deploy/NETWORK.md", "## Try it"),
    ("deploy/NETWORK.md", "## Troubleshooting"),
    ("deploy/WITHOUT-KUBERAY.md", "## When it does not connect"),
]
# Messages of other programs. tests/apiserver/test_troubleshooting.py has a real API server say what
# it says here. The others were seen on a real node or are in the source of these versions.
OTHERS = {
    "the API server": {
        "connect: connection refused",
        "context deadline exceeded",
        'no endpoints available for service "raywarden"',
        "x509: certificate signed by unknown authority",
        "x509: certificate has expired or is not yet valid",
        "exceeded quota",
        "minimum cpu usage per Container is ...",
    },
    "the names of resources": {"networkpolicies.networking.k8s.io"},
    "the states of kubectl 1.36": {"Init:0/1", "Init:Error", "ImagePullBackOff"},
    "the C library of the image, glibc": {
        "Connection refused",
        "Temporary failure in name resolution",
        "Name or service not known",
    },
    "KubeRay 1.7": {"FailedCreateHeadPod", "SubmissionFailed"},
    "Ray 2.60": {
        "Version mismatch: The cluster was started with: ...",
        "ray client connection timeout",
    },
}
# What stands for a value: numbers, names in capitals, quoted names, resources and the like.
_VALUE = re.compile(
    r".*[\d'\"].*|[A-Z]{4,}[,:]?|raywarden|[a-z]+\.ray\.io|certificatesigningrequests"
)
_VERBS = {"get", "create"}


def runs(message: str) -> Iterator[str]:
    """The longest parts of a message without values and without what `...` leaves out."""
    for part in message.replace("Fix: ", "... ").split("..."):
        words: list[str] = []
        for word in part.split():
            if _VALUE.fullmatch(word) or word in _VERBS:
                yield " ".join(words)
                words = []
            else:
                words.append(word)
        yield " ".join(words)


@cache
def printed() -> str:
    """Every text in the code, one a line; a value in a text is a line break."""
    texts: list[str] = []
    for package in ("certs", "policies", "webhook"):
        for file in (REPOSITORY / package).rglob("*.py"):
            texts += _texts(ast.parse(file.read_text()))
    return "\n".join(texts)


def _texts(tree: ast.AST) -> Iterator[str]:
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    texts: dict[int, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            texts[id(node)] = node.value
    yield from (text for key, text in texts.items() if key not in docstrings)


def is_printed(message: str) -> bool:
    """Whether each part of the message is in a text of the code."""
    parts = [part.strip(" ,:") for part in runs(message)]
    found = [part for part in parts if part]
    return bool(found) and all(part in printed() for part in found)


@pytest.mark.parametrize(("file", "heading"), TABLES)
def test_every_message_is_printed(file: str, heading: str) -> None:
    others = set().union(*OTHERS.values())
    quoted = set(messages(file, heading))
    assert quoted, "the table is gone"
    assert [text for text in sorted(quoted - others) if not is_printed(text)] == []


def test_every_message_of_others_is_quoted() -> None:
    quoted = {text for table in TABLES for text in messages(*table)}
    assert [text for texts in OTHERS.values() for text in texts if text not in quoted] == []


@pytest.mark.parametrize(
    "message",
    [
        "no certificate after 300 s: ... no answer in time",
        "refused (403): ... is not owned by this RayCluster",
        "the name of entry ... is no activation time",
        "... 300 ...",
    ],
)
def test_a_changed_message_is_noticed(message: str) -> None:
    assert not is_printed(message)
