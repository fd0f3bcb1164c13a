"""Two fixtures for those who test their charts in Python: `raywarden_review`, `raywarden_admit`.

pytest loads this module in every run of everyone who has RayWarden installed, so it imports the
rest of RayWarden only when a test uses a fixture.
"""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from webhook.policy_tests.charts import Admit, Review


@pytest.fixture(scope="session")
def raywarden_review() -> "Review":
    """What the rules say about manifests: a function that returns findings.

    `raywarden_review("chart.yaml", policy="policy.yaml", namespace="ml")`. The manifests are a
    path, text (such as the output of `helm template`), an object, or a list of objects.
    """
    from webhook.policy_tests.charts import Review

    return Review()


@pytest.fixture(scope="session")
def raywarden_admit() -> "Admit":
    """What admission decides about one object: a function that returns an `Admission`.

    `raywarden_admit(ray_cluster, user="alice", cluster=[namespace])`. It has the fields `allowed`,
    `object` (as it would be stored), `mutations` and `violations`.
    """
    from webhook.policy_tests.charts import Admit

    return Admit()
