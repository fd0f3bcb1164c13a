"""Which files kustomize applies as patches."""

from pathlib import Path

import pytest

from webhook.fixes.kustomize import is_kustomize_patch


@pytest.mark.parametrize(
    "field",
    [
        "patches: [{path: patches/a.yaml}, {patch: 'x'}]",
        "patchesStrategicMerge: [patches/a.yaml, 'kind: A\n\n  ']",
        "patchesJson6902: [{path: patches/a.yaml}]",
    ],
)
def test_a_patch(tmp_path: Path, field: str) -> None:
    (tmp_path / "patches").mkdir()
    (tmp_path / "kustomization.yaml").write_text(f"resources: [b.yaml]\n{field}\n")
    assert is_kustomize_patch(tmp_path / "patches" / "a.yaml")
    assert not is_kustomize_patch(tmp_path / "b.yaml")


@pytest.mark.parametrize("content", ["", "- a\n", "patches: {a: b}\n", "{{ x }}\n", "patches: [\n"])
def test_no_patch(tmp_path: Path, content: str) -> None:
    (tmp_path / "kustomization.yml").write_text(content)
    assert not is_kustomize_patch(tmp_path / "a.yaml")
