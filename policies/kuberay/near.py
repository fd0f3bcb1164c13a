"""Unknown fields: what the author probably meant, and which KubeRay would know the field."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import printable
from policies.kuberay.problem import NotAccepted, title_of
from policies.kuberay.schema import Node, Release, Schemas

# As in a policy file: a manifest with more unknown fields does not contain misspellings, and each
# suggestion takes time.
_MAX_SUGGESTIONS = 50
_MAX_NAME = 60


class Names:
    """Suggestions for the unknown fields of one document.

    `kind` is its version and kind, `root` their node in `release`, and `owner` what the messages
    call the schema.
    """

    def __init__(
        self, schemas: Schemas, release: Release, kind: str, root: Node, owner: str
    ) -> None:
        self._schemas = schemas
        self._release = release
        self._kind = kind
        self._root = root
        self._owner = owner
        self._left = _MAX_SUGGESTIONS

    def unknown(
        self, node: Node, value: Mapping[Any, Any], name: str, place: Pointer
    ) -> NotAccepted:
        """What to say of the field `name` that `node` does not have; `value` is at `place`."""
        shown, where = printable(name, _MAX_NAME), title_of(place)
        message = f"{self._owner} has no field {shown} in {where}"
        fate = "kubectl refuses it, and other clients drop it"
        if self._left <= 0 or len(name) > _MAX_NAME:
            return NotAccepted(f"{message}: {fate}", place / name, f"remove {shown}")
        self._left -= 1
        later = self._schemas.first_release_with(self._kind, place / name, self._release)
        if later:
            version = f"KubeRay {'.'.join(map(str, later[:2]))}"
            if later[2:] != (0,):
                version = f"KubeRay {'.'.join(map(str, later))}"
            message = f"{message}, {version} has: {fate}"
            return NotAccepted(message, place / name, f"remove {shown}, or upgrade to {version}")
        meant, remedy = self._meant(node, value, name, place)
        if meant:
            return NotAccepted(f"{message}: {fate}; did you mean {meant}?", place / name, remedy)
        return NotAccepted(f"{message}: {fate}", place / name, f"remove {shown}")

    def _meant(
        self, node: Node, value: Mapping[Any, Any], name: str, place: Pointer
    ) -> tuple[str, str]:
        """The field that was meant, and how to get there; empty if nothing is near."""
        inside = [field for field in node.fields if name in self._fields_of(node, field)]
        if len(inside) == 1:
            return f"{inside[0]}.{name}", f"move {name} into {inside[0]}"
        for above in self._above(place):
            if name in self._fields_at(above):
                return f"{title_of(above)}.{name}", f"move {name} up to {title_of(above)}"
        close = get_close_matches(name, node.fields, n=1)
        if not close:
            return "", ""
        if close[0] in value:
            return close[0], f"remove {name}"
        return close[0], f"rename {name} to {close[0]}"

    def _fields_of(self, node: Node, field: str) -> Mapping[str, int]:
        """The fields of an object that is a field of `node`."""
        return self._schemas.node(node.fields[field]).fields

    def _above(self, place: Pointer) -> list[Pointer]:
        """The objects that contain the one at `place`, nearest first."""
        parents = []
        while len(place) > 1:
            place = place.parent
            if not isinstance(place[-1], int) or self._fields_at(place):
                parents.append(place)
        return parents

    def _fields_at(self, place: Pointer) -> Mapping[str, int]:
        node = self._schemas.at(self._root, place)
        return node.fields if node else {}
