"""Bills of materials: complete, with hashes, and valid against the schema of CycloneDX."""

import json
import re
from typing import Any

import pytest
from cyclonedx.validation.json import JsonStrictValidator

from tests.support.paths import REPOSITORY
from tests.tools.release.conftest import EPOCH
from tests.tools.release.image_packages import DebianPackage, ImageContent, PythonPackage
from tests.tools.release.lock import locked_packages
from tests.tools.release.sbom import SCHEMA, image_sbom, lock_sbom

LOCK = (REPOSITORY / "requirements.lock").read_text()
DIGEST = f"sha256:{'ab' * 32}"


@pytest.fixture(scope="module")
def document() -> str:
    return lock_sbom("0.1.0", locked_packages(LOCK), EPOCH)


def image() -> str:
    content = ImageContent(
        [
            PythonPackage("aiohttp", "3.14.5", "Apache-2.0 AND MIT"),
            PythonPackage("pip", "26.3", "MIT"),
        ],
        [DebianPackage("libc6", "2.41-12+deb13u1", "arm64")],
        "3.13.11",
    )
    return image_sbom("raywarden", "0.1.0", content, locked_packages(LOCK), DIGEST, EPOCH)


def test_every_locked_package_is_named_with_version_and_hashes(document: str) -> None:
    # Read line by line, and not by the code under test.
    expected: dict[str, set[str]] = {}
    for line in LOCK.splitlines():
        if start := re.match(r"([^=\s]+)==(\S+)", line):
            hashes = expected.setdefault(f"{start[1]} {start[2]}", set())
        hashes.update(re.findall(r"sha256:(\w+)", line))
    named = {
        f"{component['name']} {component['version']}": hashes_of(component)
        for component in json.loads(document)["components"]
    }
    assert len(expected) > 50 and all(expected.values())
    assert named == expected


def hashes_of(component: Any) -> set[str]:
    (reference,) = component["externalReferences"]
    assert {entry["alg"] for entry in reference["hashes"]} == {"SHA-256"}
    return {entry["content"] for entry in reference["hashes"]}


def test_both_documents_are_valid(document: str) -> None:
    validator = JsonStrictValidator(SCHEMA)
    assert validator.validate_str(document) is None
    assert validator.validate_str(image()) is None
    assert validator.validate_str(document.replace('"library"', '"no type"', 1)) is not None


def test_the_documents_are_the_same_each_time(document: str) -> None:
    assert lock_sbom("0.1.0", locked_packages(LOCK), EPOCH) == document
    assert image() == image()
    serial = json.loads(document)["serialNumber"]
    assert json.loads(lock_sbom("0.2.0", locked_packages(LOCK), EPOCH))["serialNumber"] != serial
    assert json.loads(document)["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"


def test_a_package_for_some_platforms_says_for_which(document: str) -> None:
    components = {entry["name"]: entry for entry in json.loads(document)["components"]}
    assert components["colorama"]["properties"] == [
        {"name": "raywarden:marker", "value": "sys_platform == 'win32'"}
    ]
    assert "properties" not in components["aiohttp"]


def test_an_image_names_its_packages_by_url() -> None:
    read = json.loads(image())
    components = {entry["bom-ref"]: entry for entry in read["components"]}
    assert components.keys() == {
        "pkg:pypi/aiohttp@3.14.5",
        "pkg:pypi/pip@26.3",
        "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=arm64",
        "pkg:generic/python@3.13.11",
    }
    root = read["metadata"]["component"]
    assert root["purl"] == f"pkg:oci/raywarden@{DIGEST}?tag=0.1.0"
    assert hashes_of(components["pkg:pypi/aiohttp@3.14.5"])
    assert "externalReferences" not in components["pkg:pypi/pip@26.3"]
    assert components["pkg:pypi/pip@26.3"]["licenses"] == [{"license": {"name": "MIT"}}]
