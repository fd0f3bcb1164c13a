"""The metadata of a Kubernetes object: its name, namespace, uid, labels, annotations, owners.

The functions accept any document, also a pod template: a field that is missing or has the wrong
type reads as empty.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from policies.documents.untyped import as_dict, as_str, dict_items


class OwnerReference(NamedTuple):
    """An entry of `metadata.ownerReferences`; `group` is its API group without the version."""

    group: str
    kind: str
    name: str
    uid: str


class ObjectView:
    """An object of a known kind with its metadata unpacked; the document itself stays raw."""

    def __init__(self, kind: str, document: Mapping[str, Any]) -> None:
        self.kind = kind
        self.document = document
        self.metadata = metadata_of(document)
        self.labels = as_dict(self.metadata.get("labels"))
        self.annotations = as_dict(self.metadata.get("annotations"))

    @property
    def name(self) -> str:
        """The name, or `generateName` of an object that has no name yet."""
        return as_str(self.metadata.get("name")) or as_str(self.metadata.get("generateName"))


def metadata_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`metadata`."""
    return as_dict(document.get("metadata"))


def name_of(document: Mapping[str, Any]) -> str:
    """`metadata.name`."""
    return as_str(metadata_of(document).get("name"))


def namespace_of(document: Mapping[str, Any]) -> str:
    """`metadata.namespace`."""
    return as_str(metadata_of(document).get("namespace"))


def uid_of(document: Mapping[str, Any]) -> str:
    """`metadata.uid`."""
    return as_str(metadata_of(document).get("uid"))


def resource_version_of(document: Mapping[str, Any]) -> str:
    """`metadata.resourceVersion`."""
    return as_str(metadata_of(document).get("resourceVersion"))


def labels_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`metadata.labels`."""
    return as_dict(metadata_of(document).get("labels"))


def annotations_of(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """`metadata.annotations`."""
    return as_dict(metadata_of(document).get("annotations"))


def controller_of(document: Mapping[str, Any]) -> OwnerReference | None:
    """The owner that manages the object; the API server allows at most one."""
    for _, owner in dict_items(metadata_of(document).get("ownerReferences")):
        if owner.get("controller") is True:
            return OwnerReference(
                # The core group has no slash: "v1" gives "".
                group=as_str(owner.get("apiVersion")).rpartition("/")[0],
                kind=as_str(owner.get("kind")),
                name=as_str(owner.get("name")),
                uid=as_str(owner.get("uid")),
            )
    return None
