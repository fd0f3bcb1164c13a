"""What remediations ask for, read from their texts."""

from collections import defaultdict
from functools import cache
from typing import Any

import pytest

from policies.documents.pointer import ROOT, Pointer
from policies.model import Profile, Violation
from policies.remedies.edits import (
    Append,
    ContradictionError,
    Create,
    Edit,
    Remove,
    Rename,
    SetMember,
    carried_out,
)
from policies.remedies.grammar import Choice, remedy_of
from tests.policies.rules.test_rules import ALL, admitted, load

POD = ROOT / "spec"
PORTS: dict[str, Any] = {
    "spec": {
        "type": "NodePort",
        "hostPath": {},
        "env": [{"name": "A"}],
        "ports": [{"nodePort": 1}, {}],
    }
}


def violation(remediation: str, pointer: Pointer = POD) -> Violation:
    return Violation("no-root", "it is wrong", pointer, remediation, Profile.BASELINE)


def edits(remediation: str, pointer: Pointer = POD) -> tuple[Edit, ...]:
    return remedy_of(violation(remediation, pointer), PORTS).edits


def choice(remediation: str) -> Choice:
    return remedy_of(violation(remediation, POD / "type"), PORTS).choice


def test_set_changes_the_object_that_has_the_member() -> None:
    assert edits("set type: ClusterIP", POD / "type") == (SetMember(POD / "type", "ClusterIP"),)
    assert edits("set a: {b: [1]}") == (SetMember(POD / "a", {"b": [1]}),)
    assert edits("set a/b.c: 'x'") == (SetMember(POD / "a/b.c", "x"),)


def test_set_instead_of_another_member() -> None:
    instead = "set emptyDir: {} instead of hostPath"
    assert edits(instead) == (SetMember(POD / "emptyDir", {}, "hostPath"),)
    assert edits("set emptyDir: {} instead of nfs") == ()


def test_a_second_member_and_a_removal_in_a_list() -> None:
    both = edits("set runAsNonRoot: true, and runAsUser: 1000 or the user of the image")
    assert both == (SetMember(POD / "runAsNonRoot", True), SetMember(POD / "runAsUser", 1000))
    found = edits("set type: ClusterIP and use kubectl port-forward; remove nodePort from ports")
    assert found[1:] == (Remove(POD / "ports" / 0 / "nodePort"),)


def test_remove_names_a_member_an_item_or_nothing() -> None:
    assert edits("remove type", POD / "type") == (Remove(POD / "type"),)
    assert edits("remove A from env; x", POD / "env" / 0) == (Remove(POD / "env" / 0),)
    assert edits("remove B", POD / "env" / 0) == ()
    assert edits("remove type and user", POD / "type") == ()


def test_rename_a_member_whose_new_name_is_free() -> None:
    renamed = edits("rename type to kind", POD / "type")
    assert renamed == (Rename(POD / "type", "kind"),)
    assert choice("rename type to kind") is Choice.NONE
    assert carried_out(PORTS, renamed)["spec"]["kind"] == "NodePort"
    assert edits("rename type to env", POD / "type") == ()
    assert edits("rename other to kind", POD / "type") == ()
    with pytest.raises(ContradictionError):
        carried_out(PORTS, [Rename(POD / name, "new") for name in ("type", "env")])


def test_objects_to_create() -> None:
    quota = edits("ask: kubectl create quota ray --namespace=a --hard=cpu=6,pods=1")
    metadata = {"name": "ray", "namespace": "a"}
    hard = {"hard": {"cpu": "6", "pods": "1"}}
    document = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": hard}
    assert quota == (Create(document),)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    command = "kubectl create serviceaccount ray --namespace=a"
    assert edits(f"set x: y, run {command}, and go")[1:] == (Create(account),)
    # The command belongs to the other way.
    assert len(edits(f"set x: y, or add z and run {command}")) == 1


def test_an_entry_for_another_object() -> None:
    found = edits("add to egress of the NetworkPolicy a: {ports: [{port: 53}]}")
    place = ROOT / "spec" / "egress"
    assert found == (Append("NetworkPolicy", "a", place, {"ports": [{"port": 53}]}),)


@pytest.mark.parametrize(
    ("remediation", "expected"),
    [
        ("set type: ClusterIP", Choice.NONE),
        ("set type: ClusterIP in the spec (Ray 2.52 or later)", Choice.NONE),
        ("remove type; Kubernetes sets it", Choice.NONE),
        ("remove type, because it lets others pass", Choice.NONE),
        ("set type: a, or another type", Choice.VALUE),
        ("remove type, or ask the administrator to allow it", Choice.VALUE),
        ("set type: a, and enable it elsewhere", Choice.VALUE),
        ("set type: a; to keep it, do something else", Choice.VALUE),
        ("remove type, and move its options elsewhere", Choice.AUTHOR),
        ("set type: a, with the version you need", Choice.AUTHOR),
        ("set type: {name: NAME}", Choice.AUTHOR),
        ("use another type", Choice.AUTHOR),
        ("set", Choice.AUTHOR),
    ],
)
def test_what_is_left_to_the_author(remediation: str, expected: Choice) -> None:
    assert choice(remediation) is expected


def test_edits_that_contradict_each_other() -> None:
    places = (ROOT / "a" / "b", ROOT / "c" / 3, ROOT / "d" / 0, ROOT / 0, ROOT / 0 / "a")
    for edit in (SetMember(place, 1) for place in places):
        with pytest.raises(ContradictionError):
            carried_out({"a": "text", "c": []}, [edit])
    for place in (ROOT / "a", ROOT / "c" / "a"):
        with pytest.raises(ContradictionError):
            carried_out({"a": "text", "c": []}, [Append("", "", place, 1)])


@cache
def choices() -> dict[str, set[Choice]]:
    """What the remediations of each rule's denied fixtures leave to the author."""
    found: dict[str, set[Choice]] = defaultdict(set)
    for file in ALL:
        rule = file.parent.parent.name
        document, admit = admitted(load(file))
        stored, verdict = admit(document)
        for each in (*verdict.denied, *verdict.warned):
            if each.rule == rule and file.parent.name == "denied":
                found[rule].add(remedy_of(each, stored).choice)
    return found


# Where there is one way for at least one finding; where each fix chooses; where none is possible.
SAFE = {
    "auth-on",
    "no-ca-key-in-pods",
    "no-code-hooks",
    "no-host-access",
    "no-open-ingress",
    "no-opt-out",
    "no-powerful-service-account",
    "no-privilege-escalation",
    "no-privileged",
    "no-public-head-service",
    "no-public-ray-service",
    "no-token-automount",
    "operator-made-pods",
    "reserved-names",
    "resource-limits",
    "safe-ray-start-params",
    "tls-on",
}
CHOOSING = {
    "dedicated-service-account",
    "namespace-quota",
    "needed-traffic",
    "network-policy-present",
    "no-root",
    "protected-redis",
    "start-command-intact",
}
LEFT = {
    "namespace-isolation",
    "no-host-path",
    "no-literal-credentials",
    "one-job-one-cluster",
    "pinned-images",
    "ray-client-tls",
    "ray-version-floor",
    "trusted-images",
    "volume-types",
}


def test_which_rules_can_be_fixed() -> None:
    assert {rule for rule, found in choices().items() if Choice.NONE in found} >= SAFE
    chosen = {rule: found for rule, found in choices().items() if Choice.NONE not in found}
    assert {rule for rule, found in chosen.items() if Choice.VALUE in found} >= CHOOSING
    assert {rule for rule, found in chosen.items() if found == {Choice.AUTHOR}} >= LEFT
