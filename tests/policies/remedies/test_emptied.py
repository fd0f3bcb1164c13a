"""Parents that edits leave empty."""

from typing import Any

import pytest

from policies.documents.pointer import Pointer
from policies.remedies.edits import Edit, Remove, Rename, SetMember, carried_out
from policies.remedies.emptied import with_empty_parents


def at(path: str) -> Pointer:
    return Pointer(int(part) if part.isdigit() else part for part in path.split("/"))


SPEC: dict[str, Any] = {
    "securityContext": {"capabilities": {"add": ["A", "B"]}},
    "env": [{"name": "A"}],
    "emptyDir": {"medium": "Memory"},
}


@pytest.mark.parametrize(
    ("edits", "left"),
    [
        (
            [Remove(at("securityContext/capabilities/add/0"))],
            {**SPEC, "securityContext": {"capabilities": {"add": ["B"]}}},
        ),
        (
            [Remove(at(f"securityContext/capabilities/add/{index}")) for index in (0, 1)],
            {"env": SPEC["env"], "emptyDir": SPEC["emptyDir"]},
        ),
        (
            [
                *(Remove(at(f"securityContext/capabilities/add/{index}")) for index in (0, 1)),
                SetMember(at("securityContext/capabilities"), {"drop": ["ALL"]}),
            ],
            {**SPEC, "securityContext": {"capabilities": {"drop": ["ALL"]}}},
        ),
        (
            [Remove(at("env/0")), Rename(at("env"), "variables")],
            {**{name: SPEC[name] for name in ("securityContext", "emptyDir")}, "variables": []},
        ),
        ([Remove(at("emptyDir/medium"))], {**SPEC, "emptyDir": {}}),
    ],
)
def test_a_parent_goes_if_nothing_is_left_and_that_means_the_same(
    edits: list[Any], left: Any
) -> None:
    assert carried_out(SPEC, with_empty_parents(SPEC, edits)) == left


def test_an_empty_statement_stays() -> None:
    document: Any = {"spec": {"ingress": [{"from": []}]}}
    edits: list[Edit] = [Remove(at("spec/ingress/0"))]
    assert with_empty_parents(document, [Remove(at("spec/ingress/0"))]) == edits
