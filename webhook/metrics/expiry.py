"""What ends when, as metrics. Ray never reads its files again: what ends has to be known long before."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import MappingProxyType

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from certs.identity import Cluster
from certs.profile import AUTHORITY_LIFETIME, BACKDATED, SOON, CertificateProfile
from certs.root import Root
from webhook.metrics.registry import Label, LookedUp


class Lifetimes(LookedUp):
    """Looks at every known RayCluster when it is asked, which takes about a millisecond for 10,000 of them."""

    labels = MappingProxyType(
        {
            "raywarden_expires_timestamp_seconds": (
                Label("kind", ("serving_certificate", "cluster_ca", "root")),
            )
        }
    )

    def __init__(
        self,
        clusters: Callable[[], Iterable[Cluster]],
        profile: CertificateProfile,
        root: Root | None,
        certificate_ends: Callable[[], datetime | None],
        now: Callable[[], datetime],
    ) -> None:
        self._clusters = clusters
        self._profile = profile
        self._root = root
        self._certificate_ends = certificate_ends
        self._now = now

    def collect(self) -> Iterator[Metric]:
        created = [cluster.created for cluster in self._clusters()]
        yield GaugeMetricFamily("raywarden_ray_clusters", "RayClusters known", len(created))
        aged = self._now() + SOON - self._profile.lifetime
        text = "RayClusters so old that certificates of their first pods end within 60 days, or have ended"
        yield GaugeMetricFamily(
            "raywarden_aging_ray_clusters", text, sum(time < aged for time in created)
        )
        yield self._ends(created)

    def _ends(self, created: list[datetime]) -> Metric:
        first_ca = min(created) - BACKDATED + AUTHORITY_LIFETIME if created else None
        root = self._root.certificate.not_valid_after_utc if self._root else None
        known = {
            "serving_certificate": self._certificate_ends(),
            "cluster_ca": first_ca,
            "root": root,
        }
        ends = GaugeMetricFamily(
            "raywarden_expires_timestamp_seconds",
            "when the first of each kind ends",
            labels=("kind",),
        )
        for what, time in known.items():
            if time:
                ends.add_metric([what], time.timestamp())
        return ends
