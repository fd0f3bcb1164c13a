"""Names of time zones, as far as they can be told without the database of time zones.

Source: `LoadLocation` of Go's package time, and the IANA Time Zone Database with its old names.
"""

import re

# The folders of the database; cities come and go, and images have different releases.
_AREAS = frozenset(
    (
        "Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia", "Brazil",
        "Canada", "Chile", "Etc", "Europe", "Indian", "Mexico", "Pacific", "US", "posix", "right",
    )
)  # fmt: skip
_ALONE = frozenset(
    (
        "CET", "CST6CDT", "Cuba", "EET", "EST", "EST5EDT", "Egypt", "Eire", "Factory", "GB",
        "GB-Eire", "GMT", "GMT+0", "GMT-0", "GMT0", "Greenwich", "HST", "Hongkong", "Iceland",
        "Iran", "Israel", "Jamaica", "Japan", "Kwajalein", "Libya", "Local", "MET", "MST",
        "MST7MDT", "NZ", "NZ-CHAT", "Navajo", "PRC", "PST8PDT", "Poland", "Portugal", "ROC", "ROK",
        "Singapore", "Turkey", "UCT", "UTC", "Universal", "W-SU", "WET", "Zulu",
        "localtime",
    )
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]{1,40}){1,3}")


def may_be_time_zone(text: str) -> bool:
    """False for what is no name of a time zone, such as `CEST`, `UTC+2` or `europe/berlin`."""
    if text in _ALONE:
        return True
    return text.partition("/")[0] in _AREAS and _NAME.fullmatch(text) is not None
