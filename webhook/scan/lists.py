"""Lists of a scan: large pages, the next one requested while the last one is judged."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from policies.documents.metadata import uid_of
from webhook.kube.api import KubeApi
from webhook.kube.paging import SCAN_PAGE_SIZE
from webhook.kube.request import ExpiredError, ForbiddenError, NotFoundError, Resource
from webhook.kube.response import Page
from webhook.scan.kinds import ScannedKind

Found = tuple[dict[str, Any], int]


async def objects_of(
    api: KubeApi, kind: ScannedKind, namespace: str
) -> AsyncGenerator[Found, None]:
    """The objects of a kind, each once, and how many follow as far as is known.

    A kind that the API server does not serve has none. A list that the API server forgets before
    its end is started again, once. Raises UnavailableError.
    """
    for resource in kind.resources():
        try:
            async with aclosing(_objects(api, kind, resource, namespace)) as objects:
                async for found in objects:
                    yield found
            return
        except NotFoundError:
            continue
        except ForbiddenError:
            # RBAC may also forbid what does not exist.
            if await api.serves(resource):
                raise


async def _objects(
    api: KubeApi, kind: ScannedKind, resource: Resource, namespace: str
) -> AsyncGenerator[Found, None]:
    seen: set[str] = set()
    for may_restart in (True, False):
        pages = api.pages(resource, namespace=namespace, page_size=SCAN_PAGE_SIZE)
        try:
            async with aclosing(_ahead(pages)) as ahead:
                async for page in ahead:
                    for item, following in _new_items(page, seen):
                        yield kind.complete(item, resource.version), following
            return
        except ExpiredError:
            if not may_restart:
                raise


def _new_items(page: Page, seen: set[str]) -> Iterator[tuple[Mapping[str, Any], int]]:
    following = len(page.items) + page.remaining
    for item in page.items:
        following -= 1
        uid = uid_of(item)
        if not uid or uid not in seen:
            seen.add(uid)
            yield item, following


async def _ahead(pages: AsyncGenerator[Page, None]) -> AsyncGenerator[Page, None]:
    """The pages; each is requested before the last one has been used."""
    async with aclosing(pages):
        following = asyncio.ensure_future(anext(pages, None))
        try:
            while page := await following:
                following = asyncio.ensure_future(anext(pages, None))
                yield page
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await following
