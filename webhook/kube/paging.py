"""Lists in pages, each of bounded size."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from policies.documents.metadata import metadata_of
from policies.documents.untyped import as_str
from webhook.kube.request import Request, TooLargeError
from webhook.kube.response import Page
from webhook.ports import UnavailableError

# Any user can create objects of more than a megabyte: small pages bound the memory of a list.
PAGE_SIZE = 50
# Larger pages spare a scan the time between them. Objects of usual size stay far below the limit.
SCAN_PAGE_SIZE = 500
_MAX_BYTES = 8 * 1024 * 1024
# Each value takes some ten times its text in memory.
_SHRINKS_BY = 10


async def pages_of(
    request: Request, read: Callable[[Request], Awaitable[Mapping[str, Any]]], size: int
) -> AsyncGenerator[Page, None]:
    """The pages of the list that `request` asks for, each of `size` objects or fewer.

    If a page turns out too large, it and the following ones are asked for with fewer objects, at
    least 50. Raises ExpiredError if the API server no longer has the list.
    """
    token = ""
    while True:
        query = {"limit": str(size), **request.query}
        if token:
            query["continue"] = token
        most_bytes = _MAX_BYTES if size > PAGE_SIZE else 0
        try:
            document = await read(replace(request, query=query, most_bytes=most_bytes))
        except TooLargeError:
            size = max(PAGE_SIZE, size // _SHRINKS_BY)
            continue
        metadata, items = metadata_of(document), document.get("items")
        if not isinstance(items, list):
            raise UnavailableError(f"{request}: the answer is not a list")
        remaining = metadata.get("remainingItemCount")
        yield Page(
            [item for item in items if isinstance(item, dict)],
            as_str(metadata.get("resourceVersion")),
            remaining if isinstance(remaining, int) else 0,
        )
        token = as_str(metadata.get("continue"))
        if not token:
            return
