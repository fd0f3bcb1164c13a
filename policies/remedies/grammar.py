"""Remediations that can be carried out: their text, read as edits of the object.

The grammar is `set NAME: VALUE [instead of OLD]`, `remove NAME [from LIST]`, `rename NAME to NAME`
and `add to LIST of the NetworkPolicy NAME: VALUE`, at the start. Later parts may be `, and NAME:
VALUE`, `; remove NAME from LIST` and `kubectl create serviceaccount|quota`. The text is the only
source, so that what people read and what `review --fix` does cannot differ.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from policies.documents.pointer import ROOT, Pointer
from policies.documents.untrusted_yaml import UntrustedYamlError, load_all
from policies.documents.untyped import as_dict, dict_items
from policies.model import Violation
from policies.remedies.edits import Append, Create, Edit, Remove, Rename, SetMember


class Choice(IntEnum):
    """How much a remediation leaves to the author."""

    # There is one way to do it.
    NONE = 0
    # It chooses a value that the author may want otherwise, or needs a step outside the object.
    VALUE = 1
    # Only the author can do it: it needs a name, or something has to be moved before.
    AUTHOR = 2


@dataclass(frozen=True, slots=True)
class Remedy:
    """What a remediation asks for, and how much of it is open."""

    choice: Choice
    edits: tuple[Edit, ...] = ()


_NOTHING = Remedy(Choice.AUTHOR)

_FLOW = r"\{(?:[^{}]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})*\}|\[[^\[\]]*\]"
_VALUE = rf"""{_FLOW}|"(?:[^"\\]|\\.)*"|[^\s,;]+"""
_SET = re.compile(rf"set (?P<name>[\w./-]+): (?P<value>{_VALUE})(?P<rest>.*)", re.DOTALL)
_INSTEAD = re.compile(r" instead of (?P<old>\w+)")
_AND_SET = re.compile(rf", and (?P<name>\w+): (?P<value>{_VALUE})(?P<rest>.*)", re.DOTALL)
_REMOVE = re.compile(r"remove (?P<name>[^\s,;]+)(?: from \w+)?(?P<rest>$|[,;] .*)", re.DOTALL)
_RENAME = re.compile(r"rename (?P<old>[^\s,;]+) to (?P<new>[\w.-]+)$")
_REMOVE_IN_LIST = re.compile(r"; remove (?P<name>\w+) from (?P<list>\w+)$")
_APPEND = re.compile(
    r"add to (?P<list>\w+) of the NetworkPolicy (?P<object>[^\s:]+): (?P<value>\{.*\})$"
)
_CREATE = re.compile(
    r"kubectl create (?P<kind>serviceaccount|quota) (?P<name>[\w.-]+) "
    r"--namespace=(?P<namespace>\S+)(?: --hard=(?P<hard>\S+))?"
)
# What replaces access that is closed; it is not another value for the object.
_ACCESS = re.compile(r" and use kubectl port-forward(?:, or an Ingress that authenticates)?")
_CHOOSES = re.compile(r",? or |, and |[;,] (?:for|put|to|set|run|if|a LoadBalancer)\b")
# Without these steps the object would no longer do what its author wants.
_NEEDS_AUTHOR = re.compile(r", (?:and (?:add|move|set|create)|after|with)\b")
_REMARK = re.compile(r" \([^()]*\)")
# Stands for a name that only the author knows.
_PLACEHOLDERS = frozenset(["NAME", "SECRET", "KEY", "URL"])


def remedy_of(violation: Violation, document: Any) -> Remedy:
    """What the remediation of `violation` asks for; `document` is the object that violates it."""
    text = violation.remediation
    if removal := _REMOVE.match(text):
        return _removal(removal, violation.pointer, document)
    if setting := _SET.match(text):
        return _setting(setting, violation.pointer, document)
    if renaming := _RENAME.match(text):
        return _renaming(renaming, violation.pointer, document)
    if addition := _APPEND.match(text):
        value = _value(addition["value"])
        pointer = ROOT / "spec" / addition["list"]
        append = Append("NetworkPolicy", addition["object"], pointer, value)
        return Remedy(Choice.VALUE, (append,))
    created = tuple(_created(text))
    return Remedy(Choice.VALUE, created) if created else _NOTHING


def _removal(removal: re.Match[str], pointer: Pointer, document: Any) -> Remedy:
    place = _place_of(removal["name"], pointer, document)
    if place is None:
        return _NOTHING
    return Remedy(_choice(removal["rest"]), (Remove(place),))


def _renaming(renaming: re.Match[str], pointer: Pointer, document: Any) -> Remedy:
    is_taken = renaming["new"] in as_dict(pointer.parent.read(document))
    if pointer[-1:] != (renaming["old"],) or is_taken:
        return _NOTHING
    return Remedy(Choice.NONE, (Rename(pointer, renaming["new"]),))


def _place_of(name: str, pointer: Pointer, document: Any) -> Pointer | None:
    """The place of what is called `name`: at the pointer, or an annotation of the object."""
    existing = pointer.read(document)
    is_entry = isinstance(existing, dict) and existing.get("name") == name
    if pointer[-1:] == (name,) or existing == name or is_entry:
        return pointer
    annotation = ROOT / "metadata" / "annotations" / name
    return None if annotation.read(document) is None else annotation


def _setting(setting: re.Match[str], pointer: Pointer, document: Any) -> Remedy:
    name, value, rest = setting["name"], _value(setting["value"]), setting["rest"]
    instead = _INSTEAD.search(rest)
    old = instead["old"] if instead else ""
    parent = _parent_of(pointer, name, old)
    if old and (parent / old).read(document) is None:
        return _NOTHING
    edits: list[Edit] = [SetMember(parent / name, value, old)]
    if second := _AND_SET.match(rest):
        edits.append(SetMember(parent / second["name"], _value(second["value"])))
        rest = second["rest"]
    if removal := _REMOVE_IN_LIST.search(rest):
        edits += _removals_in_list(removal, parent, document)
        rest = rest[: removal.start()]
    choice = Choice.AUTHOR if _needs_name(value) else _choice(rest)
    # What follows an "or" belongs to another way.
    return Remedy(choice, (*edits, *_created(rest.partition(", or ")[0])))


def _parent_of(pointer: Pointer, name: str, old: str) -> Pointer:
    """The place of the object to change: the one on the path that has the member, or the path."""
    for index, token in enumerate(pointer):
        if token in (name, old):
            return Pointer(pointer[:index])
    return pointer


def _removals_in_list(removal: re.Match[str], parent: Pointer, document: Any) -> Iterator[Remove]:
    place = parent / removal["list"]
    for index, item in dict_items(place.read(document)):
        if removal["name"] in item:
            yield Remove(place / index / removal["name"])


def _choice(rest: str) -> Choice:
    """What the text after the edit still leaves open."""
    if _NEEDS_AUTHOR.search(rest):
        return Choice.AUTHOR
    rest = _REMARK.sub("", _ACCESS.sub("", rest))
    return Choice.VALUE if _CHOOSES.search(rest) else Choice.NONE


def _value(text: str) -> Any:
    try:
        return next(load_all(text), None)
    except UntrustedYamlError:
        # An author's expression of the policy file may begin like this and go on otherwise.
        return text


def _needs_name(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_needs_name, value.values()))
    if isinstance(value, list):
        return any(map(_needs_name, value))
    return isinstance(value, str) and value in _PLACEHOLDERS


def _created(text: str) -> Iterator[Create]:
    """The objects that the `kubectl create` commands in `text` create."""
    for command in _CREATE.finditer(text):
        metadata = {"name": command["name"], "namespace": command["namespace"].rstrip(",;")}
        if command["kind"] == "serviceaccount":
            yield Create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        elif command["hard"]:
            hard = dict(limit.split("=", 1) for limit in command["hard"].split(",") if "=" in limit)
            document = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata}
            yield Create({**document, "spec": {"hard": hard}})
