"""Writes report objects, and deletes those of earlier scans that no longer apply."""

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from typing import Any

from policies.documents.metadata import name_of, namespace_of, uid_of
from webhook.kube.api import KubeApi
from webhook.kube.request import BusyError, NotFoundError, Resource, backoff
from webhook.ports import ConflictError, UnavailableError
from webhook.scan.report_documents import MANAGED_BY, REPORT_KINDS, SOURCE, ReportKind

_MANAGER = "raywarden-scan"
_ATTEMPTS = 5
_FIRST_PAUSE_SECONDS = 0.5
# Reports may be large, and only their names are needed.
_PAGE_SIZE = 5


async def report_kind_of(api: KubeApi) -> ReportKind:
    """The API of reports that the cluster has; raises NotFoundError if it has none."""
    for kind in REPORT_KINDS:
        if await api.serves(kind.resource("any")):
            return kind
    groups = " nor ".join(f"{kind.kind} ({kind.group}/{kind.version})" for kind in REPORT_KINDS)
    raise NotFoundError(
        f"--report: the cluster has neither {groups}: install one of these CRDs, "
        "for example with the Helm chart openreports"
    )


class ReportWriter:
    """Writes reports of one kind, for a namespace or for the whole cluster."""

    def __init__(self, api: KubeApi, kind: ReportKind, namespace: str) -> None:
        self._api = api
        self._kind = kind
        self._namespace = namespace

    async def write(self, documents: Iterable[Mapping[str, Any]]) -> int:
        """Apply the reports and delete all others of RayWarden; returns how many there are.

        Raises UnavailableError.
        """
        written: set[tuple[str, str]] = set()
        for document in documents:
            namespace = namespace_of(document)
            # A scan of one namespace says nothing about the cluster.
            if self._namespace and not namespace:
                continue
            if await self._apply(namespace, document):
                written.add((namespace, name_of(document)))
        resources = [self._kind.resource("any")]
        if not self._namespace:
            resources.append(self._kind.resource(""))
        for resource in resources:
            await self._delete_others(resource, written)
        return len(written)

    async def _apply(self, namespace: str, document: Mapping[str, Any]) -> bool:
        """Whether it is written; False if the namespace was deleted meanwhile."""
        resource = self._kind.resource(namespace)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await self._api.apply(resource, namespace, document, manager=_MANAGER)
                return True
            except NotFoundError:
                return False
            except (BusyError, ConflictError) as error:
                if attempt == _ATTEMPTS:
                    raise UnavailableError(str(error)) from None
                pause = error.pause if isinstance(error, BusyError) else 0.0
                await asyncio.sleep(max(pause, backoff(attempt, _FIRST_PAUSE_SECONDS)))
        return False

    async def _delete_others(self, resource: Resource, written: set[tuple[str, str]]) -> None:
        stale: list[tuple[str, str, str]] = []
        pages = self._api.pages(
            resource,
            namespace=self._namespace,
            labels=f"{MANAGED_BY}={SOURCE}",
            page_size=_PAGE_SIZE,
        )
        async with aclosing(pages):
            async for page in pages:
                for item in page.items:
                    key = namespace_of(item), name_of(item)
                    if key not in written:
                        stale.append((*key, uid_of(item)))
        for namespace, name, uid in stale:
            try:
                await self._api.delete(resource, namespace, name, {"uid": uid})
            except (NotFoundError, ConflictError):
                continue
