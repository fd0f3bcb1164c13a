"""Scans a cluster: first what rules know of it, then every object."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import date

from policies.config import Policy
from policies.documents.metadata import name_of, namespace_of
from policies.ray.workload import WORKLOAD_KINDS
from webhook.admission.reviewer import Reviewer
from webhook.kube.api import KubeApi
from webhook.kube.memory import KubeMemory
from webhook.kube.request import ForbiddenError, Resource
from webhook.manifests.read import UnreadableManifest
from webhook.ports import UnavailableError
from webhook.review.progress import OnProgress
from webhook.review.results import ObjectResult, Results
from webhook.scan.authors import PodSigner, StatesWithOperator, is_written_by_kubernetes
from webhook.scan.coverage import namespace_results
from webhook.scan.kinds import SCANNED, ScannedKind, has_ended
from webhook.scan.lists import objects_of
from webhook.scan.live_judge import LiveJudge

# Between two of these, Ctrl-C and the next page have to wait.
_YIELD_EVERY = 10


class Scanner:
    """Reads with the caller's rights and changes nothing.

    Admission never sees the namespaces in `unseen`, so their objects are not judged.
    """

    def __init__(
        self,
        api: KubeApi,
        signer: PodSigner,
        today: Callable[[], date],
        unseen: Sequence[str],
        configurations: Mapping[str, Mapping[str, object]],
    ) -> None:
        self._api = api
        self._signer = signer
        self._today = today
        self._unseen = frozenset(unseen)
        self._configurations = configurations
        self._memory = KubeMemory(api, retry_seconds=1.0)
        self._states = StatesWithOperator(self._memory)
        self._with_ray: dict[str, None] = {}
        self._skipped = 0

    async def scan(self, policy: Policy, namespace: str, on_progress: OnProgress) -> Results:
        """The results for a namespace, or for all of them.

        Raises UnavailableError if nothing of Ray can be read.
        """
        on_progress("what rules know of the cluster", 0, 0)
        problems = await self._memory.read_once(namespace)
        notes = list(_unknown_notes(problems))
        reviewer = Reviewer(lambda: policy, self._signer, self._states, self._today)
        judge = LiveJudge(reviewer, self._signer.expect)
        objects: list[ObjectResult] = []
        unreadable: list[UnreadableManifest] = []
        refused: list[ScannedKind] = []
        for kind in SCANNED:
            try:
                await self._judge_all(kind, namespace, judge, objects, on_progress)
            except ForbiddenError as error:
                refused.append(kind)
                notes.append(f"{kind.plural} were not scanned: you may not {error.permission}")
            except UnavailableError as error:
                unreadable.append(UnreadableManifest(kind.plural, str(error)))
        if all(kind in refused for kind in SCANNED if kind.is_of_ray):
            raise ForbiddenError(
                f"nothing of Ray can be read: {notes[-1]}; ask an administrator for permission to "
                "list Ray's kinds and pods, or name a namespace with -n",
                "",
            )
        objects += self._uncovered()
        return Results(objects, unreadable, self._skipped, notes)

    async def _judge_all(
        self,
        kind: ScannedKind,
        namespace: str,
        judge: LiveJudge,
        results: list[ObjectResult],
        on_progress: OnProgress,
    ) -> None:
        done = 0
        if kind.kind == "Namespace" and namespace:
            return
        async with aclosing(objects_of(self._api, kind, namespace)) as objects:
            async for document, following in objects:
                done += 1
                if done % _YIELD_EVERY == 0:
                    on_progress(kind.plural, done, done + following)
                    await asyncio.sleep(0)
                result = self._result(kind, document, judge)
                if result is None:
                    self._skipped += 1
                else:
                    results.append(result)

    def _result(
        self, kind: ScannedKind, document: dict[str, object], judge: LiveJudge
    ) -> ObjectResult | None:
        own_name = name_of(document)
        namespace = own_name if kind.kind == "Namespace" else namespace_of(document)
        if has_ended(kind.kind, document):
            return None
        if namespace in self._unseen:
            if judge.is_workload(document):
                self._with_ray[namespace] = None
            return None
        if is_written_by_kubernetes(kind.kind, document, self._memory.state_of(namespace)):
            return None
        result = judge.result(document)
        if result is not None and kind.kind in WORKLOAD_KINDS:
            self._with_ray[namespace] = None
        return result

    def _uncovered(self) -> Iterator[ObjectResult]:
        """The namespaces with Ray in them for which a webhook is not called."""
        for namespace in sorted(self._with_ray):
            labels = self._memory.state_of(namespace).labels
            yield from namespace_results(self._configurations, namespace, labels)


def _unknown_notes(problems: Mapping[Resource, UnavailableError]) -> Iterator[str]:
    for resource, error in problems.items():
        if isinstance(error, ForbiddenError):
            yield f"rules that need {resource} cannot be sure: you may not {error.permission}"
        else:
            yield f"rules that need {resource} cannot be sure: {error}"
