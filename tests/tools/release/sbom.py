"""Writes bills of materials in CycloneDX (JSON): what is in the lock file, and in an image."""

from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model import (
    ExternalReference,
    ExternalReferenceType,
    HashAlgorithm,
    HashType,
    Property,
    XsUri,
)
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

from tests.tools.release.image_packages import DebianPackage, ImageContent
from tests.tools.release.lock import LockedPackage

SCHEMA = SchemaVersion.V1_6
_LICENSE = "Apache-2.0"
_LOCK = "requirements.lock"


def lock_sbom(version: str, locked: Iterable[LockedPackage], epoch: int) -> str:
    """RayWarden and every package of the lock file, with the hashes of all files it accepts."""
    root = Component(
        name="raywarden", version=version, type=ComponentType.APPLICATION,
        licenses=[LicenseExpression(_LICENSE)], purl=_pypi("raywarden", version),
        bom_ref=_pypi("raywarden", version).to_string(),
    )  # fmt: skip
    return _text(root, [_locked(package) for package in locked], epoch)


def image_sbom(name: str, version: str, content: ImageContent, locked: Iterable[LockedPackage],
               digest: str, epoch: int) -> str:  # fmt: skip
    """An image and its Python and Debian packages; those of the lock file with their hashes."""
    by_key = {(package.name, package.version): package for package in locked}
    purl = PackageURL("oci", name=name, version=digest, qualifiers={"tag": version})
    root = Component(
        name=name, version=version, type=ComponentType.CONTAINER, purl=purl,
        licenses=[LicenseExpression(_LICENSE)], bom_ref=purl.to_string(),
    )  # fmt: skip
    components = [_debian(package) for package in content.debian]
    for package in content.python:
        known = by_key.get((package.name, package.version))
        components.append(_python(package.name, package.version, package.license, known))
    if content.interpreter:
        components.append(_interpreter(content.interpreter))
    return _text(root, components, epoch)


def _text(root: Component, components: list[Component], epoch: int) -> str:
    """The document; its serial number and time depend on its content alone."""
    bom = Bom(components=components)
    bom.metadata = BomMetaData(component=root, timestamp=datetime.fromtimestamp(epoch, UTC))
    bom.register_dependency(root, components)
    named = sorted(component.bom_ref.value or "" for component in (root, *components))
    bom.serial_number = uuid5(NAMESPACE_URL, "\n".join(named))
    document = make_outputter(bom, OutputFormat.JSON, SCHEMA).output_as_string(indent=2)
    return f"{document}\n"


def _locked(package: LockedPackage) -> Component:
    component = _python(package.name, package.version, "", package)
    if package.marker:
        component.properties.add(Property(name="raywarden:marker", value=package.marker))
    return component


def _python(name: str, version: str, license: str, locked: LockedPackage | None) -> Component:
    """A Python package.

    One version has a file for each platform. So the hashes belong to the reference to its files,
    and not to the component.
    """
    purl = _pypi(name, version)
    component = Component(
        name=name, version=version, type=ComponentType.LIBRARY, purl=purl, bom_ref=purl.to_string()
    )
    if license:
        component.licenses.add(DisjunctiveLicense(name=license))
    if locked:
        component.external_references.add(_files(locked))
    return component


def _files(locked: LockedPackage) -> ExternalReference:
    """The files of a package, by their hashes."""
    return ExternalReference(
        type=ExternalReferenceType.DISTRIBUTION,
        url=XsUri(_LOCK),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=value) for value in locked.hashes],
        comment="the hashes of the wheels and source archives that the lock file accepts",
    )


def _debian(package: DebianPackage) -> Component:
    purl = PackageURL(
        "deb", "debian", package.name, package.version,
        qualifiers={"arch": package.architecture},
    )  # fmt: skip
    return Component(
        name=package.name, version=package.version, type=ComponentType.LIBRARY, purl=purl,
        bom_ref=purl.to_string(),
    )  # fmt: skip


def _interpreter(version: str) -> Component:
    purl = PackageURL("generic", name="python", version=version)
    return Component(
        name="python", version=version, type=ComponentType.PLATFORM, purl=purl,
        bom_ref=purl.to_string(), cpe=f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
    )  # fmt: skip


def _pypi(name: str, version: str) -> PackageURL:
    return PackageURL("pypi", name=name, version=version)
