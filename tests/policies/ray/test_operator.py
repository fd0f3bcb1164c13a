"""What the version of KubeRay says about the fields of RayClusters."""

import pytest

from policies.ray.operator import KubeRayOperator


@pytest.mark.parametrize(
    ("version", "tokens", "kubernetes_tokens", "network_policy"),
    [
        ("1.4.2", False, False, False),
        ("1.5.0", False, False, False),
        ("1.5", None, False, False),
        ("1.5.1", True, False, False),
        ("v1.6.0-rc.1", True, True, False),
        ("1.7", True, True, True),
        ("2.0", True, True, True),
    ],
)
def test_the_fields_of_a_release(
    version: str, tokens: bool | None, kubernetes_tokens: bool, network_policy: bool
) -> None:
    known = KubeRayOperator.of_release(version)
    assert known is not None
    fields = (known.tokens, known.kubernetes_tokens, known.network_policy)
    assert fields == (tokens, kubernetes_tokens, network_policy)


@pytest.mark.parametrize("text", ["", "latest", "1", "1.x", "1.5.1" + "0" * 60])
def test_what_is_no_version_is_unknown(text: str) -> None:
    assert KubeRayOperator.of_release(text) is None
