"""A manifest as its author wrote it, before the API server drops what it does not know."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from policies.documents.pointer import ROOT
from policies.documents.untyped import as_str, printable
from policies.kuberay.fields import FieldReview
from policies.kuberay.naming import child_refusals
from policies.kuberay.near import Names
from policies.kuberay.problem import NotAccepted
from policies.kuberay.schema import Release, Schemas
from policies.ray.operator import KubeRayOperator
from policies.ray.workload import Workload


@dataclass(frozen=True, slots=True)
class AsWritten:
    """The author's document, and the schemas of the kinds that it may have."""

    document: Mapping[str, Any]
    schemas: Schemas

    def refusals(self, kuberay: KubeRayOperator) -> Iterator[NotAccepted]:
        """What the API server refuses or drops with this KubeRay; an unknown one is the newest.

        Says nothing of the fields of a KubeRay that is newer than all known ones.
        """
        release = self.schemas.table_for(kuberay.release)
        version = as_str(self.document.get("apiVersion")).rpartition("/")[2]
        kind = f"{version}/{as_str(self.document.get('kind'))}"
        if release is not None:
            yield from self._field_refusals(release, kind)
        yield from child_refusals(Workload(kind.rpartition("/")[2], self.document))

    def _field_refusals(self, release: Release, kind: str) -> Iterator[NotAccepted]:
        owner = f"KubeRay {'.'.join(map(str, release[:2]))}"
        if self.schemas.are_given:
            owner = "the CustomResourceDefinition"
        root = self.schemas.root(release, kind)
        if root is None:
            yield self._unknown_kind(release, kind, owner)
            return
        names = Names(self.schemas, release, kind, root, owner)
        yield from FieldReview(self.schemas, names).refusals(root, self.document)

    def _unknown_kind(self, release: Release, kind: str, owner: str) -> NotAccepted:
        version, _, name = kind.rpartition("/")
        known = self.schemas.kinds[release]
        shown = f"{printable(name, 60)} in the version {printable(version, 60)}"
        if self.schemas.are_given:
            owner = "the given CustomResourceDefinitions"
        later = self.schemas.first_release_with(kind, ROOT, release)
        if later:
            remedy = f"upgrade to KubeRay {'.'.join(map(str, later[:2]))}"
        elif f"v1/{name}" in known:
            remedy = "set apiVersion: ray.io/v1"
        else:
            remedy = f"remove the {printable(name, 60)}"
        message = f"the API server refuses the object: {owner} has no {shown}"
        return NotAccepted(message, ROOT / "apiVersion", remedy)
