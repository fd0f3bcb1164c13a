"""The fields of KubeRay's kinds: its CustomResourceDefinitions without their descriptions.

A table holds each distinct part once, so the pod template that stands in ten places of four kinds
and three releases takes the room of one.
Source: `helm-chart/kuberay-operator/crds`, and Kubernetes' `ObjectMeta`, which
CustomResourceDefinitions leave out.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from policies.documents.pointer import Pointer
from policies.documents.untyped import as_dict, as_str, dict_items

Release = tuple[int, ...]

# The newest KubeRay whose fields RayWarden knows.
NEWEST: Release = (1, 7, 0)
_ONE_OF = re.compile(r"self in \[((?:'[^']*'(?:, ?)?)+)\]")
_TEXT, _TEXTS = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
_NUMBER, _SWITCH = {"type": "integer"}, {"type": "boolean"}
_TEXT_MAP = {"type": "object", "additionalProperties": {"type": "string"}}
_TIME = {"type": "string", "nullable": True}
_OWNER = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("apiVersion", "kind", "name", "uid"), _TEXT),
        **dict.fromkeys(("blockOwnerDeletion", "controller"), _SWITCH),
    },
    "required": ["apiVersion", "kind", "name", "uid"],
}
_OBJECT_META = {
    "type": "object",
    "properties": {
        **dict.fromkeys(
            ("generateName", "name", "namespace", "resourceVersion", "selfLink", "uid"), _TEXT
        ),
        **dict.fromkeys(("annotations", "labels"), _TEXT_MAP),
        **dict.fromkeys(("creationTimestamp", "deletionTimestamp"), _TIME),
        **dict.fromkeys(("deletionGracePeriodSeconds", "generation"), _NUMBER),
        "finalizers": _TEXTS,
        "managedFields": {"type": "array", "items": {}},
        "ownerReferences": {"type": "array", "items": _OWNER},
    },
}


# The range of each format of whole numbers: from its negative to below it.
RANGES = {"int32": 2**31, "int64": 2**63}
_ANY_TYPE: frozenset[Any] = frozenset({str, int, float, bool, dict, list, type(None)})
_PLAIN: Mapping[str, frozenset[Any]] = {
    "": _ANY_TYPE,
    "string": frozenset({str}),
    "boolean": frozenset({bool}),
    "integer": frozenset({int}),
    "number": frozenset({int, float}),
    "int-or-string": frozenset({int, str}),
}


@dataclass(frozen=True, slots=True)
class Node:
    """What one value may be; `fields`, `values` and `items` are the numbers of other nodes.

    `type` is a type of JSON Schema, `int-or-string`, or empty for any value. `keys` are the fields
    by which the entries of a list must differ; with `is_set` the entries themselves must.
    """

    type: str = ""
    fields: Mapping[str, int] = field(default_factory=dict)
    values: int | None = None
    items: int | None = None
    required: Sequence[str] = ()
    enum: Sequence[Any] = ()
    default: Any = None
    nullable: bool = False
    format: str = ""
    pattern: str = ""
    minimum: float | None = None
    max_length: int | None = None
    min_length: int | None = None
    min_items: int | None = None
    keys: Sequence[str] = ()
    is_set: bool = False

    # True for an object that may have no other fields than those it lists.
    is_closed: bool = field(init=False)
    # True if not every value of the type is allowed.
    is_limited: bool = field(init=False)
    # The types of Python whose values are all allowed, so that nothing of them must be read.
    plain: frozenset[Any] = field(init=False)

    def __post_init__(self) -> None:
        bounds = (self.minimum, self.max_length, self.min_length)
        limited = bool(self.enum or self.pattern or self.format in RANGES)
        limited = limited or any(bound is not None for bound in bounds)
        plain = frozenset() if limited else _PLAIN.get(self.type, frozenset())
        object.__setattr__(self, "is_closed", bool(self.fields) and self.values is None)
        object.__setattr__(self, "is_limited", limited)
        object.__setattr__(self, "plain", plain)


_FIELDS = tuple(part.name for part in fields(Node) if part.init)
# JSON Schema's names for what a node holds under another name.
_FROM_CRD = {
    "maxLength": "max_length",
    "minLength": "min_length",
    "minItems": "min_items",
    "x-kubernetes-list-map-keys": "keys",
    **{name: name for name in ("default", "enum", "format", "minimum", "nullable", "pattern")},
    **{name: name for name in ("required", "type")},
}


class Schemas:
    """The kinds of several releases of KubeRay, as the numbers of their nodes.

    `kinds` holds them by release, then by version and kind: `v1/RayCluster`. With `are_given`
    they come from the user, for one release, whatever its number is.
    """

    def __init__(
        self,
        nodes: Sequence[Mapping[str, Any]],
        kinds: Mapping[Release, Mapping[str, int]],
        *,
        are_given: bool = False,
    ) -> None:
        self.kinds = kinds
        self.are_given = are_given
        self._raw = nodes
        self._nodes: dict[int, Node] = {}

    @classmethod
    def of_table(cls, table: Mapping[str, Any]) -> "Schemas":
        """The schemas in a table as `as_table` writes it."""
        kinds = {
            tuple(map(int, release.split("."))): roots
            for release, roots in table["releases"].items()
        }
        return cls(table["nodes"], kinds)

    def as_table(self) -> dict[str, Any]:
        """Everything as one JSON object."""
        releases = {".".join(map(str, release)): roots for release, roots in self.kinds.items()}
        return {"releases": releases, "nodes": list(self._raw)}

    @classmethod
    def given(cls, documents: Iterable[Any]) -> "Schemas":
        """The schemas in a user's CustomResourceDefinitions; empty if none is of Ray."""
        table = _Table()
        roots = dict(_roots(documents, table))
        return cls(table.nodes, {NEWEST: roots} if roots else {}, are_given=True)

    @classmethod
    def of_definitions(cls, releases: Mapping[Release, Iterable[Any]]) -> "Schemas":
        """The schemas in the CustomResourceDefinitions of each release.

        Documents of other kinds and groups are skipped.
        """
        table = _Table()
        kinds = {}
        for release, documents in sorted(releases.items()):
            kinds[release] = dict(sorted(_roots(documents, table)))
        return cls(table.nodes, kinds)

    def node(self, number: int) -> Node:
        """The node with this number."""
        node = self._nodes.get(number)
        if node is None:
            node = self._nodes[number] = Node(**self._raw[number])
        return node

    def table_for(self, release: Release | None) -> Release | None:
        """The release whose fields hold for `release`; None if that is newer than all known ones.

        None as `release` means the newest. A release without a third number means its last one.
        """
        known = sorted(self.kinds)
        if release is None or self.are_given:
            return known[-1] if known else None
        if release[:2] > known[-1][:2]:
            return None
        complete = release if len(release) > 2 else (*release, 1_000_000)
        return next((older for older in reversed(known) if older <= complete), known[0])

    def root(self, release: Release, version_and_kind: str) -> Node | None:
        """The node of a kind such as `v1/RayCluster`; None if the release does not have it."""
        number = self.kinds[release].get(version_and_kind)
        return None if number is None else self.node(number)

    def first_release_with(
        self, version_and_kind: str, place: Pointer, after: Release
    ) -> Release | None:
        """The first release after `after` that has the field at `place`."""
        for release in sorted(self.kinds):
            root = self.root(release, version_and_kind)
            if release > after and root is not None and self.at(root, place):
                return release
        return None

    def at(self, root: Node, place: Pointer) -> Node | None:
        """The node of the value at `place` of a document; None if the schema has no such place."""
        node = root
        for token in place:
            number = node.items if isinstance(token, int) else node.fields.get(token, node.values)
            if number is None:
                return None
            node = self.node(number)
        return node


class _Table:
    """Nodes without duplicates; equal parts of schemas get the same number."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self._numbers: dict[str, int] = {}

    def add(self, schema: Mapping[str, Any]) -> int:
        """The number of the node for this part of an OpenAPI schema."""
        node = {_FROM_CRD[name]: value for name, value in schema.items() if name in _FROM_CRD}
        if schema.get("x-kubernetes-int-or-string") is True:
            node["type"] = "int-or-string"
        if schema.get("x-kubernetes-list-type") == "set":
            node["is_set"] = True
        if choices := _choices(schema):
            node["enum"] = choices
        if schema.get("x-kubernetes-preserve-unknown-fields") is not True:
            node.update(self._parts(schema))
        elif node.get("type") == "object":
            node.pop("required", None)
        text = repr(sorted(node.items(), key=lambda item: item[0]))
        if text not in self._numbers:
            self._numbers[text] = len(self.nodes)
            self.nodes.append({name: node[name] for name in _FIELDS if name in node})
        return self._numbers[text]

    def _parts(self, schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        properties = as_dict(schema.get("properties"))
        if properties:
            yield "fields", {name: self.add(as_dict(properties[name])) for name in properties}
        for name, key in (("values", "additionalProperties"), ("items", "items")):
            if isinstance(schema.get(key), dict):
                yield name, self.add(schema[key])


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The values that a validation expression such as `self in ['a', 'b']` allows."""
    for _, validation in dict_items(schema.get("x-kubernetes-validations")):
        match = _ONE_OF.fullmatch(as_str(validation.get("rule")))
        if match:
            return re.findall(r"'([^']*)'", match[1])
    return []


def _roots(documents: Iterable[Any], table: _Table) -> Iterator[tuple[str, int]]:
    """Each version and kind in CustomResourceDefinitions of Ray, with the number of its node."""
    for document in map(as_dict, documents):
        spec = as_dict(document.get("spec"))
        kind = as_str(as_dict(spec.get("names")).get("kind"))
        if spec.get("group") != "ray.io" or not kind:
            continue
        for _, version in dict_items(spec.get("versions")):
            schema = as_dict(as_dict(version.get("schema")).get("openAPIV3Schema"))
            properties = as_dict(schema.get("properties"))
            if properties and version.get("served") is not False:
                # Nobody writes a status: the API server takes it from KubeRay alone.
                whole = {"apiVersion": _TEXT, "kind": _TEXT, **properties}
                whole |= {"metadata": _OBJECT_META, "status": {}}
                root = {"type": "object", "properties": whole, "required": schema.get("required")}
                if not root["required"]:
                    del root["required"]
                yield f"{as_str(version.get('name'))}/{kind}", table.add(root)
