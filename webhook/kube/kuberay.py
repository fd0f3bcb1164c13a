"""Follows what the installed KubeRay knows, in the API server's OpenAPI documents."""

import asyncio

import structlog

from policies.documents.untyped import as_dict, as_str
from policies.ray.operator import KubeRayOperator
from webhook.kube.api import KubeApi
from webhook.ports import UnavailableError

# Every authenticated client may read both paths (ClusterRole `system:discovery`).
_INDEX = "/openapi/v3"
_GROUP = "apis/ray.io/v1"
# CustomResourceDefinitions change when KubeRay is upgraded.
_PERIOD_SECONDS = 60.0
# The document of KubeRay's kinds has a few megabytes.
_SECONDS = 30.0


class KubeRayDiscovery:
    """`operator` is what is known of KubeRay, as of the last minute, while `run` runs.

    The index says when a document has changed, so the large one is read only then. While it cannot
    be read, the last answer stays.
    """

    def __init__(self, api: KubeApi, *, period_seconds: float = _PERIOD_SECONDS) -> None:
        self.operator = KubeRayOperator()
        self._api = api
        self._period_seconds = period_seconds
        self._address = ""

    async def run(self) -> None:
        """Follow the API server until cancelled."""
        log, last_problem = structlog.get_logger(), ""
        while True:
            problem = ""
            try:
                await self.update()
            except UnavailableError as error:
                problem = str(error)
            if problem and problem != last_problem:
                log.warning("the version of KubeRay is unknown", reason=problem)
            last_problem = problem
            await asyncio.sleep(self._period_seconds)

    async def update(self) -> None:
        """Read the documents once; raises UnavailableError."""
        index = await self._api.get_path(_INDEX)
        entry = as_dict(as_dict(index.get("paths")).get(_GROUP))
        address = as_str(entry.get("serverRelativeURL"))
        if address == self._address:
            return
        if address:
            document = await self._api.get_path(f"{_INDEX}/{_GROUP}", seconds=_SECONDS)
            self.operator = KubeRayOperator.of_openapi(document)
        else:
            self.operator = KubeRayOperator()
        self._address = address
