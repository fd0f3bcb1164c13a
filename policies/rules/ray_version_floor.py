"""Ray is new enough to have no known vulnerabilities."""

from collections.abc import Iterator
from datetime import date
from typing import ClassVar

from pydantic import Field, field_validator

from policies.model import Facts, Profile, Rule, Severity, Violation
from policies.ray.version import VERSION, RayVersion, dotted, ray_version, versions_of
from policies.ray.workload import Workload

# The Ray version that fixes each vulnerability, from the GitHub Advisory Database (PyPI package
# `ray`) and the CVE list. CVE-2023-48022 (ShadowRay) and CVE-2025-34351 are missing: in every
# version, only token authentication closes them.
FIXED = {
    "CVE-2023-6019, CVE-2023-6020, CVE-2023-6021 and CVE-2026-32981": (2, 8, 1),
    "CVE-2025-1979": (2, 43, 0),
    "CVE-2025-62593": (2, 52, 0),
    "CVE-2026-27482": (2, 54, 0),
    "CVE-2026-41486": (2, 55, 0),
    # Only in jobs that call `ray.data.read_webdataset` on an archive they do not trust.
    "CVE-2026-57516": (2, 56, 0),
}
# The day on which somebody last compared the table with both sources. A release needs a review that
# is not older than itself.
LAST_REVIEW = date(2026, 11, 21)


class RayVersionFloor(Rule):
    """Refuses Ray versions with known vulnerabilities.

    The rule takes the version from `rayVersion` and from the tags of Ray's own images. It refuses
    versions below `denyBelow` and warns about versions below `warnBelow`. It knows the
    vulnerabilities that were published by 2026-11-21.
    Why: older versions have published remote vulnerabilities. For example, CVE-2025-62593 lets a
    web page run code through the dashboard.
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
        dotted(max(FIXED.values())),
        description="versions below this get a warning",
        json_schema_extra={"pattern": VERSION},
    )

    @field_validator("deny_below", "warn_below")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if ray_version(value) is None:
            raise ValueError("write a version of three numbers, such as 2.52.0")
        return value

    def check(self, workload: Workload, facts: Facts) -> Iterator[Violation]:
        """Report each version once, at its first place: a fix has to change it everywhere."""
        deny, warn = ray_version(self.deny_below), ray_version(self.warn_below)
        if deny is None or warn is None:
            return
        newest = max(deny, warn)
        reported: set[RayVersion] = set()
        for version, place in versions_of(workload):
            if version in reported or version >= newest:
                continue
            reported.add(version)
            holes = {name: fixed for name, fixed in FIXED.items() if version < fixed}
            problem = (
                f"is affected by {', '.join(holes)}" if holes else "is below the minimum version"
            )
            message = f"Ray {dotted(version)} {problem}"
            needed = dotted(max([newest, *holes.values()]))
            remediation = f"use Ray {needed} or later in rayVersion and in every image"
            yield self.violation(message, place, remediation, advisory=version >= deny)
