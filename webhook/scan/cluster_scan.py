"""A scan of the cluster of a kubeconfig: its policy, its results, and reports about them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from policies.config import Policy
from policies.model import Signer
from webhook.check.answers import answer_of
from webhook.check.collect import Inspection
from webhook.check.deployment import DEPLOYMENT, ServerDeployment, StoredPolicy
from webhook.check.facts import MUTATING, VALIDATING, Object, Unavailable
from webhook.kube.adapters import CONFIGURATIONS
from webhook.kube.api import KubeApi
from webhook.kube.request import ForbiddenError
from webhook.policy.file import parse_policy
from webhook.review.progress import OnProgress
from webhook.review.results import Results
from webhook.scan.authors import PodSigner
from webhook.scan.report_documents import ReportKind, reports
from webhook.scan.report_writer import ReportWriter, report_kind_of
from webhook.scan.scanner import Scanner


class ClusterScan:
    """Scans with the caller's connection. Every call may raise UnavailableError.

    `signer` is that of a server with the caller's settings. `policy` is used if it is given; else
    that of the installed server, or the default policy.
    """

    def __init__(
        self,
        api: KubeApi,
        signer: Signer,
        policy: Policy | None,
        now: Callable[[], datetime],
    ) -> None:
        self._api = api
        self._signer = signer
        self._chosen = policy
        self._now = now
        self._report_kind: ReportKind | None = None
        self.policy = policy or Policy.parse(None)

    async def find_report_kind(self) -> None:
        """Look for the API of reports; raises NotFoundError if the cluster has none."""
        self._report_kind = await report_kind_of(self._api)

    async def results(self, namespace: str, on_progress: OnProgress) -> Results:
        """The results for a namespace, or for all of them."""
        # Without an API server, this fails at once.
        with suppress(ForbiddenError):
            await self._api.get_path("/version")
        inspection = Inspection(self._api, self._signer.namespace, self._now)
        server, stored = await inspection.installed()
        notes = [] if self._chosen else list(self._use_policy_of(server, stored))
        scanner = Scanner(
            self._api,
            self._pod_signer(server),
            lambda: self._now().date(),
            (self._signer.namespace, "kube-system"),
            await self._configurations(server),
        )
        results = await scanner.scan(self.policy, namespace, on_progress)
        return replace(results, notes=[*notes, *results.notes])

    async def write_reports(self, results: Results, namespace: str) -> str:
        """Write the results as report objects; returns what was written."""
        kind = self._report_kind or await report_kind_of(self._api)
        writer = ReportWriter(self._api, kind, namespace)
        number = await writer.write(reports(kind, results, self._now()))
        return f"{number} {kind.kind} objects ({kind.group}/{kind.version})"

    def _use_policy_of(
        self,
        server: ServerDeployment | Unavailable | None,
        stored: StoredPolicy | Unavailable | None,
    ) -> Iterator[str]:
        """Take the server's policy if it can be read; else say which one is used."""
        default = "so the default policy is used; --policy names another"
        problem = next((each for each in (server, stored) if isinstance(each, Unavailable)), None)
        if problem is not None:
            yield f"the server's policy cannot be read ({problem.reason}), {default}"
        elif server is None:
            yield f"RayWarden is not installed in {self._signer.namespace}, {default}"
        elif isinstance(stored, StoredPolicy):
            if stored.content is None:
                yield f"{stored.title} does not exist, {default}"
                return
            self.policy = parse_policy(Path(stored.title), stored.content)

    def _pod_signer(self, server: ServerDeployment | Unavailable | None) -> PodSigner:
        if not isinstance(server, ServerDeployment):
            return PodSigner(self._signer, is_known=False)
        url = server.settings.get("RAYWARDEN_SIGNER_URL") or self._signer.url
        signer = replace(self._signer, image=server.enroll_image, url=url)
        return PodSigner(signer, is_known=True)

    async def _configurations(
        self, server: ServerDeployment | Unavailable | None
    ) -> Mapping[str, Object]:
        """The webhook configurations that can be read."""
        name = server.configuration if isinstance(server, ServerDeployment) else ""
        documents: dict[str, Object] = {}
        for kind, resource in zip((MUTATING, VALIDATING), CONFIGURATIONS, strict=True):
            answer = await answer_of(self._api.get(resource, "", name or DEPLOYMENT))
            if isinstance(answer, Mapping):
                documents[kind] = answer
        return documents
