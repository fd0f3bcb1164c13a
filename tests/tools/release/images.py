"""Builds the images with `docker buildx`, for all platforms, into OCI archives."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.tools.release import ReleaseError

PLATFORMS = ("linux/amd64", "linux/arm64")
# The stage of the Dockerfile for each image; empty: the last stage.
TARGETS = {"raywarden": "", "raywarden-enroll": "enroll"}


def builder() -> str:
    """Why no image can be built on this machine; empty if images can be built."""
    if not shutil.which("docker"):
        return "docker is not installed"
    for command, problem in (
        (["docker", "buildx", "version"], "docker has no buildx"),
        (["docker", "buildx", "inspect", "--bootstrap"], "docker buildx has no running builder"),
    ):
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode != 0:
            return problem
    return ""


def base_digest(image: str) -> str:
    """The digest of a base image in its registry. Raises ReleaseError if it cannot be read."""
    command = ["docker", "buildx", "imagetools", "inspect", image]
    ended = subprocess.run(
        [*command, "--format", "{{.Manifest.Digest}}"], capture_output=True, text=True, check=False
    )
    if ended.returncode != 0:
        raise ReleaseError(f"the digest of {image} cannot be read: {ended.stderr.strip()}")
    return ended.stdout.strip()


def build(
    source: Path, folder: Path, version: str, base: str, digest: str, epoch: int
) -> Iterator[Path]:
    """Build each image from `source` into `folder`; yields the archives."""
    for name in TARGETS:
        archive = folder / f"{name}-{version}.oci.tar"
        arguments = command(name, archive, version, f"{base}@{digest}", base)
        ended = subprocess.run(
            arguments, cwd=source, env={**os.environ, "SOURCE_DATE_EPOCH": str(epoch)}, check=False
        )
        if ended.returncode != 0:
            raise ReleaseError(f"the image {name} was not built: see the messages of docker above")
        yield archive


def command(name: str, archive: Path, version: str, pinned: str, base: str) -> list[str]:
    """The build of one image.

    The base image is taken by its digest, so that all builds and platforms have the same one. A
    builder that reuses layers would prove nothing about a second build, so it may not. Provenance
    and SBOM of the builder contain times: those of the release are made beside the image.
    """
    target = ["--target", TARGETS[name]] if TARGETS[name] else []
    return [
        "docker", "buildx", "build", "--no-cache", "--provenance=false", "--sbom=false",
        "--platform", ",".join(PLATFORMS), *target,
        "--build-arg", f"VERSION={version}",
        "--build-context", f"{base}=docker-image://{pinned}",
        "--output", f"type=oci,dest={archive},rewrite-timestamp=true", ".",
    ]  # fmt: skip
