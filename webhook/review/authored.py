"""From a place in an object as admission stores it to the place in the manifest of its author."""

from typing import Any

from policies.documents.pointer import ROOT, Pointer
from webhook.manifests.dry_run import ReviewedObject


def authored_pointer(reviewed: ReviewedObject, pointer: Pointer) -> Pointer:
    """The place in the manifest for a place in the stored object.

    Mutations add members of lists, and KubeRay copies templates and adds containers, so list
    positions differ; members with a name are found by name. What the author did not write, such
    as a container that KubeRay adds, has the place of the list that it would be in.
    """
    place = corresponding(pointer, reviewed.document, reviewed.sent)
    if reviewed.parent is None:
        return place
    for own, parents in reviewed.origins:
        if place[: len(own)] == own:
            rest = Pointer(place[len(own) :])
            copied = own.read(reviewed.sent)
            original = parents.read(reviewed.parent.document)
            below = corresponding(rest, copied, original)
            return authored_pointer(reviewed.parent, Pointer((*parents, *below)))
    return authored_pointer(reviewed.parent, ROOT)


def corresponding(path: Pointer, source: Any, target: Any) -> Pointer:
    """The place in `target`, another version of `source`, for the place `path` in `source`.

    It ends at a list that has no corresponding member. Fields that `target` lacks stay in it.
    """
    place = ROOT
    for token in path:
        here: str | int | None = token
        if isinstance(source, list) and isinstance(token, int):
            here = _index_in(target, source, token)
        if here is None:
            return place
        place = place / here
        source, target = _member(source, token), _member(target, here)
    return place


def _index_in(target: Any, source: list[Any], index: int) -> int | None:
    """The position in `target` of the member `source[index]`: by name, else by value."""
    if not isinstance(target, list) or index >= len(source):
        return None
    member = source[index]
    name = _name(member)
    if name is None:
        if len(target) == len(source):
            return index
        return next((place for place, other in enumerate(target) if other == member), None)
    if index < len(target) and _name(target[index]) == name:
        return index
    return next((place for place, other in enumerate(target) if _name(other) == name), None)


def _name(member: Any) -> str | None:
    name = member.get("name") if isinstance(member, dict) else None
    return name if isinstance(name, str) else None


def _member(parent: Any, token: str | int) -> Any:
    return Pointer((token,)).read(parent)
