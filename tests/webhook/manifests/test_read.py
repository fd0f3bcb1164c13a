"""What a folder may hold beside manifests, and what stays an error."""

import os
from pathlib import Path

import pytest

from webhook.manifests.read import Manifest, SkippedFile, UnreadableManifest, read

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
OTHER_FILES = {
    "values.yaml": "replicaCount: 2\nimage: {tag: '1.0'}\n",
    "Chart.yaml": "apiVersion: v2\nname: ray\nversion: 1.0.0\n",
    "dashboard.json": '{"title": "Ray", "panels": [{"type": "graph"}]}',
    "datasources.yaml": "apiVersion: 1\ndatasources: [{name: Prometheus}]\n",
    "patch.yaml": "- {op: remove, path: /spec/type}\n",
    "list.json": "[1, 2]",
    "text.yaml": "only words\n",
    "empty.yaml": "# nothing\n---\n",
}
BROKEN_FILES = {
    "without-apiversion.yaml": "kind: RayCluster\nmetadata: {name: a}\n",
    "without-kind.yaml": "apiVersion: ray.io/v1\nmetadata: {name: a}\nspec: {}\n",
    "list-of-objects.json": '[{"apiVersion": "ray.io/v1", "kind": "RayCluster"}]',
    "template.yaml": "name: {{ .Values.name }}\n",
    "unfinished.yaml": "name: [a\n",
    "stray.yaml": f"only words\n---\n{SERVICE}",
    "stray-at-the-end.yaml": f"{SERVICE}---\n- a\n",
    "not-text.yaml": "\udcff",
}


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_bytes(text.encode(errors="surrogateescape"))
    return file


def kinds(source: Path) -> list[type]:
    return [type(result) for result in read(str(source))]


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_folder_may_hold_files_that_are_no_manifests(name: str, tmp_path: Path) -> None:
    file = write(tmp_path, name, OTHER_FILES[name])
    write(tmp_path, "zz-service.yaml", SERVICE)
    assert kinds(tmp_path) == [SkippedFile, Manifest]
    assert next(read(str(tmp_path))) == SkippedFile(str(file))


@pytest.mark.parametrize("name", OTHER_FILES)
def test_a_file_that_is_named_must_hold_manifests(name: str, tmp_path: Path) -> None:
    assert kinds(write(tmp_path, name, OTHER_FILES[name])) == [UnreadableManifest]


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_a_broken_manifest_in_a_folder_is_an_error(name: str, tmp_path: Path) -> None:
    write(tmp_path, name, BROKEN_FILES[name])
    assert UnreadableManifest in kinds(tmp_path)


def test_a_folder_must_hold_a_manifest(tmp_path: Path) -> None:
    write(tmp_path, "values.yaml", OTHER_FILES["values.yaml"])
    assert kinds(tmp_path) == [SkippedFile, UnreadableManifest]


def test_a_link_to_a_missing_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", SERVICE)
    (tmp_path / "b.yaml").symlink_to("missing.yaml")
    assert kinds(tmp_path) == [Manifest, UnreadableManifest]


def test_a_folder_that_contains_itself_is_read_once(tmp_path: Path) -> None:
    write(tmp_path, "a.yaml", SERVICE)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert kinds(tmp_path) == [Manifest]


def test_a_named_pipe_is_an_error_and_never_waits(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    write(tmp_path, "a.yaml", SERVICE)
    assert kinds(tmp_path / "pipe.yaml") == [UnreadableManifest]
    assert kinds(tmp_path) == [Manifest]


def test_a_pipe_that_the_shell_opened_is_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, SERVICE.encode())
    os.close(writing)
    try:
        assert kinds(Path(f"/dev/fd/{reading}")) == [Manifest]
    finally:
        os.close(reading)


def test_the_number_of_documents_is_bounded(tmp_path: Path) -> None:
    file = write(tmp_path, "a.yaml", "---\n" * 100_002)
    (result,) = read(str(file))
    assert result == UnreadableManifest(str(file), "more than 100000 documents")
