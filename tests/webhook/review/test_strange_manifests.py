"""A manifest with values of the wrong type is reviewed, and does not end the review of others."""

from pathlib import Path
from typing import Any

import pytest

from tests.support import factory, reviews

HEAD = "/spec/headGroupSpec/template/spec/containers/0"


@pytest.mark.parametrize(
    "changes",
    [
        {f"{HEAD}/ports": [{"name": "dashboard", "containerPort": {}}]},
        {f"{HEAD}/ports": [{"name": "dashboard", "containerPort": []}]},
        {"/spec/authOptions": {"mode": "token"}, f"{HEAD}/env": [{"name": {"a": 1}, "value": "b"}]},
    ],
)
def test_values_of_the_wrong_type(tmp_path: Path, changes: dict[str, Any]) -> None:
    strange = factory.changed(factory.ray_cluster(), changes)
    results = reviews.review_of(tmp_path / "a.yaml", strange)
    assert len(results.objects) == 1 and not results.unreadable
