"""The images of a release: how they are built, what is read from them, and how they are pinned."""

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.support.deployed import only, rendered, variables
from tests.support.paths import DEPLOY, REPOSITORY
from tests.tools.dockerfile import stages
from tests.tools.release import ReleaseError, digests, images
from tests.tools.release.build import _base_image
from tests.tools.release.image_packages import DebianPackage, PythonPackage, content, is_wanted
from tests.tools.release.oci_archive import digest_of, platforms

SITE = "opt/raywarden/lib/python3.13/site-packages"
STATUS = (
    b"Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.41-12\n"
    b"Description: GNU C Library\n more text\n\n"
    b"Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n"
)
BASE_SITE = "usr/local/lib/python3.13/site-packages"
BASE = {
    "var/lib/dpkg/status": STATUS,
    f"{BASE_SITE}/pip-26.3.dist-info/METADATA": b"Name: pip\nVersion: 26.3\n",
    f"{BASE_SITE}/old-1.dist-info/METADATA": b"Name: old\nVersion: 1\n",
    "usr/bin/env": b"program",
}
OWN = {
    f"{SITE}/ruamel_yaml-0.19.1.dist-info/METADATA": (
        b"Name: ruamel.yaml\nVersion: 0.19.1\nLicense-Expression: MIT\n\n# ruamel.yaml"
    ),
    f"{BASE_SITE}/.wh.old-1.dist-info": b"",
}
ENROLL = {"var/lib/dpkg/status.d/libc6": STATUS.partition(b"\n\n")[0]}


def layer(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))
    return gzip.compress(buffer.getvalue())


class Archive:
    """Writes an OCI archive as `docker buildx build --output type=oci` does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def image(self, architecture: str, *layers: Mapping[str, bytes]) -> dict[str, str]:
        config = {
            "architecture": architecture,
            "config": {"Env": ["PATH=/bin", "PYTHON_VERSION=3.13.11"]},
        }
        manifest = {
            "config": self.add(config),
            "layers": [self.add(layer(files)) for files in layers],
        }
        return self.add(manifest)

    def add(self, document: object) -> dict[str, str]:
        blob = document if isinstance(document, bytes) else json.dumps(document).encode()
        name = hashlib.sha256(blob).hexdigest()
        self.blobs[f"blobs/sha256/{name}"] = blob
        return {"digest": f"sha256:{name}"}

    def write(self, file: Path, *tops: dict[str, str]) -> Path:
        index = json.dumps({"manifests": tops}).encode()
        with tarfile.open(file, "w") as tar:
            for name, text in {**self.blobs, "index.json": index}.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text))
        return file


def test_packages_of_all_platforms_are_read(tmp_path: Path) -> None:
    archive = Archive()
    arm = {**BASE, "var/lib/dpkg/status": STATUS.replace(b"amd64", b"arm64")}
    both = [archive.image("amd64", BASE, OWN), archive.image("arm64", arm, OWN)]
    top = archive.add({"manifests": both})
    file = archive.write(tmp_path / "image.tar", top)
    assert digest_of(file) == top["digest"]
    found = content(platforms(file, is_wanted))
    assert found.python == [
        PythonPackage("pip", "26.3"),
        PythonPackage("ruamel-yaml", "0.19.1", "MIT"),
    ]
    assert found.debian == [
        DebianPackage("libc6", "2.41-12", "amd64"),
        DebianPackage("libc6", "2.41-12", "arm64"),
    ]
    assert found.interpreter == "3.13.11"


def test_an_image_for_one_platform_without_a_package_manager_is_read(tmp_path: Path) -> None:
    archive = Archive()
    file = archive.write(tmp_path / "image.tar", archive.image("amd64", ENROLL))
    assert content(platforms(file, is_wanted)).debian == [
        DebianPackage("libc6", "2.41-12", "amd64")
    ]


def test_an_opaque_folder_hides_what_was_in_it(tmp_path: Path) -> None:
    archive = Archive()
    hidden = {f"{BASE_SITE}/.wh..wh..opq": b""}
    file = archive.write(tmp_path / "image.tar", archive.image("amd64", BASE, hidden))
    assert content(platforms(file, is_wanted)).python == []


def test_an_archive_of_several_images_is_refused(tmp_path: Path) -> None:
    archive = Archive()
    file = archive.write(tmp_path / "image.tar", archive.image("amd64"), archive.image("arm64"))
    with pytest.raises(ReleaseError, match="contains 2 images instead of 1"):
        digest_of(file)


def test_every_image_is_a_stage_of_the_dockerfile() -> None:
    _, *built = stages()
    assert {stage.name for stage in built} == set(images.TARGETS.values())
    assert stages()[-1].name == ""


def test_the_base_image_is_pinned_by_its_digest() -> None:
    base = _base_image((REPOSITORY / "Dockerfile").read_text())
    assert base == "python:3.13-slim"
    command = images.command("raywarden-enroll", Path("x.tar"), "0.1.0", f"{base}@sha256:12", base)
    assert "python:3.13-slim=docker-image://python:3.13-slim@sha256:12" in command
    assert command[command.index("--target") + 1] == "enroll"
    assert command[command.index("--platform") + 1] == "linux/amd64,linux/arm64"
    assert "--target" not in images.command("raywarden", Path("x.tar"), "0.1.0", "b@d", "b")


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        (None, "docker is not installed"),
        ("exit 1", "docker has no buildx"),
        ('test "$2" = version', "docker buildx has no running builder"),
        ("exit 0", ""),
    ],
)
def test_a_missing_builder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, problem: str
) -> None:
    if script is not None:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert images.builder() == problem


def test_the_component_pins_both_images(tmp_path: Path) -> None:
    server, enroll = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
    (tmp_path / "digests").mkdir()
    text = digests.component("0.1.0", "images.example/raywarden", server, enroll)
    (tmp_path / "digests" / "kustomization.yaml").write_text(text)
    (tmp_path / "base").symlink_to(DEPLOY / "base")
    overlay = {"resources": ["base"], "components": ["digests"]}
    (tmp_path / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    deployment = only(rendered(tmp_path), "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"images.example/raywarden@{server}"
    assert variables(deployment)["RAYWARDEN_ENROLL_IMAGE"] == f"images.example/raywarden@{enroll}"
    assert len(container["env"]) == 3


def test_the_values_name_both_digests() -> None:
    read = yaml.safe_load(
        digests.values("0.1.0", "images.example/raywarden", "sha256:1", "sha256:2")
    )
    assert read["image"] == {"repository": "images.example/raywarden", "digest": "sha256:1"}
    assert read["enrollImage"] == {"repository": "images.example/raywarden", "digest": "sha256:2"}
