"""Ray versions with known holes."""

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field, field_validator

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.version import VERSION, RayVersion, dotted, ray_version, versions_of
from policies.ray.workload import Workload

# The Ray version each was fixed in; CVE-2023-48022 (ShadowRay) needs token authentication in any version.
_FIXED = {
    "CVE-2023-6019, CVE-2023-6020 and CVE-2023-6021": (2, 8, 1),
    "CVE-2025-1979": (2, 43, 0),
    "CVE-2025-62593": (2, 52, 0),
    "CVE-2026-27482": (2, 54, 0),
    "CVE-2026-41486": (2, 55, 0),
}


class RayVersionFloor(Rule):
    """Refuses Ray below one version and warns below another, by `rayVersion` and by the tag of Ray's own images.

    Why: each version named has published remote holes: CVE-2025-62593 lets a web page run code through the dashboard.
    Fix: raise `rayVersion` and the image tags together.
    """

    id: ClassVar[str] = "ray-version-floor"
    profile: ClassVar[Profile] = Profile.BASELINE
    severity: ClassVar[Severity] = Severity.HIGH

    deny_below: str = Field(
        "2.52.0",
        description="versions below this are refused",
        json_schema_extra={"pattern": VERSION},
    )
    warn_below: str = Field(
        "2.55.0",
        description="versions below this are warned about",
        json_schema_extra={"pattern": VERSION},
    )

    @field_validator("deny_below", "warn_below")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if ray_version(value) is None:
            raise ValueError("write a version of three numbers, such as 2.52.0")
        return value

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Each version is reported once, where it first stands: mending it means changing it everywhere."""
        deny, warn = ray_version(self.deny_below), ray_version(self.warn_below)
        reported: set[RayVersion] = set()
        for version, pointer in versions_of(workload):
            if deny is None or warn is None or version in reported or version >= max(deny, warn):
                continue
            reported.add(version)
            holes = ", ".join(name for name, fixed in _FIXED.items() if version < fixed)
            message = f"Ray {dotted(version)} " + (
                f"has {holes}" if holes else "is below the floor"
            )
            remediation = (
                f"use Ray {dotted(max(deny, warn))} or later, in rayVersion and in every image"
            )
            yield self.violation(message, pointer, remediation, advisory=version >= deny)
