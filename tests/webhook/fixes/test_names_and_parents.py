"""Misspelled fields are renamed, and what a fix leaves empty goes with it."""

from functools import partial
from typing import Any

import pytest

from policies.config import Policy
from policies.remedies.grammar import Choice
from tests.webhook.commands.test_review_fix import TEXT
from tests.webhook.fixes.test_mend import mended
from webhook.fixes.mend import Mender, Mending
from webhook.manifests.kuberay_schemas import load_schemas
from webhook.manifests.read import Manifest, objects
from webhook.offline import offline_reviewer
from webhook.review.run import ReadSources, ReviewBasis, review_manifests
from webhook.settings import Settings

CONTAINER = "image: rayproject/ray:2.60.0\n"
ALONE = TEXT.replace("serviceType: NodePort", "serviceType: ClusterIP").replace(
    "        hostNetwork: true\n", ""
)


def mend(text: str, most: Choice = Choice.NONE) -> Mending:
    policy = Policy.parse({"profiles": {"enforce": "restricted"}})
    basis = ReviewBasis(partial(offline_reviewer, Settings(), policy), schemas=load_schemas(None))

    def review(manifests: Any) -> Any:
        return review_manifests(ReadSources(manifests), basis)

    found = [item for item in objects("a.yaml", text.encode()) if isinstance(item, Manifest)]
    return Mender(review, most).mend(review(found))


def test_nothing_is_renamed_that_is_right() -> None:
    assert mend(ALONE).files == ()


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("rayVersio: 2.60.0   # tested", "rayVersion: 2.60.0   # tested"),
        ("'rayVersio': 2.60.0", "'rayVersion': 2.60.0"),
        ('"rayVersio": 2.60.0', '"rayVersion": 2.60.0'),
        ("rayVersio: &v 2.60.0", "rayVersion: &v 2.60.0"),
    ],
)
def test_a_misspelled_field_is_renamed_and_nothing_else(wrong: str, right: str) -> None:
    text = ALONE.replace("rayVersion: 2.60.0   # tested", wrong)
    assert mended(mend(text)) == ALONE.replace("rayVersion: 2.60.0   # tested", right)


def test_the_value_of_a_renamed_field_keeps_its_comments() -> None:
    wrong = ALONE.replace("            resources:\n", "            resource:   # enough\n")
    wrong = wrong.replace("limits: {", "# measured\n              limits: {")
    assert mended(mend(wrong)) == wrong.replace("resource:   #", "resources:   #")


def test_a_name_that_is_taken_is_left() -> None:
    text = ALONE.replace("spec:\n", "spec:\n  rayVersio: 2.59.0\n", 1)
    after = mended(mend(text))
    assert after == ALONE, "KubeRay does not read the field, and its name is taken"
    twice = text.replace("rayVersion: 2.60.0", "rayVersin: 2.60.0")
    mending = mend(twice)
    assert mended(mending).count("rayVersion:") == 1


CAPABILITIES = (
    CONTAINER
    + """\
            securityContext:
              runAsUser: 1000
              capabilities:
                add: [SYS_ADMIN, NET_ADMIN]
"""
)


def test_a_list_that_a_fix_empties_goes_with_its_empty_parents() -> None:
    text = ALONE.replace(CONTAINER, CAPABILITIES)
    after = mended(mend(text))
    assert "add" not in after and "drop:" in after
    with_drop = text.replace("NET_ADMIN]\n", "NET_ADMIN]\n                drop: [ALL]\n")
    assert "                drop: [ALL]\n" in mended(mend(with_drop))
    assert "add" not in mended(mend(with_drop))


def test_an_empty_list_stays_where_a_comment_would_go_with_it() -> None:
    add = "add:\n                  # for the driver\n                  - SYS_ADMIN\n"
    capabilities = CAPABILITIES.replace("add: [SYS_ADMIN, NET_ADMIN]\n", add)
    capabilities += "                drop: [ALL]\n              allowPrivilegeEscalation: false\n"
    text = ALONE.replace(CONTAINER, capabilities)
    assert "add: []\n                  # for the driver\n" in mended(mend(text))


def test_the_quota_has_room_for_what_the_file_asks_for() -> None:
    group = """\
  workerGroupSpecs:
    - groupName: gpus
      replicas: 0
      minReplicas: 0
      maxReplicas: 12
      resources: {GPU: "1"}
      rayStartParams: {}
      template:
        spec:
          serviceAccountName: ray
          containers:
            - name: ray-worker
              image: rayproject/ray:2.60.0
              resources:
                limits: {cpu: '8', memory: 64Gi}
"""
    after = mended(mend(ALONE + group, Choice.VALUE))
    hard = after.partition("hard:\n")[2]
    assert "cpu: '100'" in hard and "memory: 784Gi" in hard
    assert "requests.nvidia.com/gpu: '12'" in hard
    assert mend(after, Choice.VALUE).files == ()
