"""When certificates expire, as metrics.

Ray never reads its certificate files again, so operators must know long before one expires.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from types import MappingProxyType

from prometheus_client.metrics_core import GaugeMetricFamily, Metric

from certs.identity import Cluster
from certs.profile import AUTHORITY_LIFETIME, BACKDATED, EXPIRY_WARNING, CertificateProfile
from certs.root import Root
from webhook.metrics.registry import Label, LabeledCollector

_EXPIRATION = "raywarden_certificate_expiration_timestamp_seconds"


class Lifetimes(LabeledCollector):
    """Reads every known RayCluster at each scrape: about a millisecond for 10,000 of them."""

    labels = MappingProxyType({_EXPIRATION: (Label("kind", ("serving", "cluster_ca", "root_ca")),)})

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
        creation_times = [cluster.created for cluster in self._clusters()]
        yield GaugeMetricFamily(
            "raywarden_ray_clusters", "RayClusters in RayWarden's cache.", len(creation_times)
        )
        # The first pods of a cluster enroll when it is created.
        expiring_if_created_before = self._now() + EXPIRY_WARNING - self._profile.lifetime
        yield GaugeMetricFamily(
            "raywarden_expiring_ray_clusters",
            "RayClusters so old that certificates of their first pods expire within 60 days or "
            "have expired.",
            sum(created < expiring_if_created_before for created in creation_times),
        )
        yield self._expirations(creation_times)

    def _expirations(self, creation_times: list[datetime]) -> Metric:
        expirations = GaugeMetricFamily(
            _EXPIRATION,
            "Unix time at which the first certificate of a kind expires.",
            labels=("kind",),
        )
        serving_ends = self._certificate_ends()
        if serving_ends:
            expirations.add_metric(["serving"], serving_ends.timestamp())
        if creation_times:
            first_ca_ends = min(creation_times) - BACKDATED + AUTHORITY_LIFETIME
            expirations.add_metric(["cluster_ca"], first_ca_ends.timestamp())
        if self._root:
            root_ends = self._root.certificate.not_valid_after_utc
            expirations.add_metric(["root_ca"], root_ends.timestamp())
        return expirations
