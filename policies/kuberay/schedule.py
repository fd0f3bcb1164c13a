"""Cron schedules as KubeRay reads them.

Source: `ParseStandard` of github.com/robfig/cron/v3.
"""

from policies.kuberay.time_zone import may_be_time_zone
from policies.kuberay.values import is_duration

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Minute, hour, day of the month, month, day of the week: the least and the most, and names.
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_DESCRIPTORS = frozenset(
    ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
)
_EVERY = "@every "
# Longer than every real schedule.
_MAX_LENGTH = 1_000


def is_schedule(text: str) -> bool:
    """True for five fields, or a descriptor such as `@daily` or `@every 1h`."""
    if len(text) > _MAX_LENGTH:
        return False
    zone, _, rest = text.partition(" ")
    if zone.startswith(("TZ=", "CRON_TZ=")):
        if not may_be_time_zone(zone.partition("=")[2]):
            return False
        text = rest.strip()
    if text.startswith("@"):
        return text in _DESCRIPTORS or (
            text.startswith(_EVERY) and is_duration(text.removeprefix(_EVERY))
        )
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return False
    return all(
        _is_field(field, least, most, names)
        for field, (least, most, names) in zip(fields, _FIELDS, strict=True)
    )


def _is_field(field: str, least: int, most: int, names: dict[str, int]) -> bool:
    parts = [part for part in field.split(",") if part]
    return all(_is_range(part, least, most, names) for part in parts)


def _is_range(part: str, least: int, most: int, names: dict[str, int]) -> bool:
    bounds, *steps = part.split("/")
    low, *high = bounds.split("-")
    if len(steps) > 1 or any(_number(step) in (None, 0) for step in steps):
        return False
    if low in ("*", "?"):
        return True
    start = _number(low, names)
    if start is None or len(high) > 1:
        return False
    end = _number(high[0], names) if high else start
    if steps and not high:
        end = most
    return end is not None and least <= start <= end <= most


def _number(text: str, names: dict[str, int] | None = None) -> int | None:
    """The number that the text spells or names; None if it is none."""
    named = (names or {}).get(text.lower())
    if named is not None:
        return named
    digits = text.removeprefix("+")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None
