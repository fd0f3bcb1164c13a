"""Namespace labels from manifests: what the development server and the command line know of namespaces."""

from collections.abc import Iterable, Mapping
from typing import Any

from policies.reading import mapping, text


class NamespaceManifests:
    """The labels of the Namespace objects in a set of manifests."""

    def __init__(self, documents: Iterable[Any]) -> None:
        self._labels: dict[str, Mapping[str, str]] = {}
        for document in map(mapping, documents):
            if document.get("kind") == "Namespace" and document.get("apiVersion") == "v1":
                metadata = mapping(document.get("metadata"))
                labels = mapping(metadata.get("labels"))
                self._labels[text(metadata.get("name"))] = {
                    name: value for name, value in labels.items() if isinstance(value, str)
                }

    def __bool__(self) -> bool:
        return bool(self._labels)

    def labels(self, namespace: str) -> Mapping[str, str]:
        return self._labels.get(namespace, {})
