"""The messages that tables of the documentation explain."""

import re
from collections.abc import Iterator

from tests.support.paths import REPOSITORY

_ROW = re.compile(r"\| (.*?) \|")
_CODE = re.compile(r"`([^`]+)`")


def messages(file: str, heading: str) -> Iterator[str]:
    """What stands as code in the first column of the tables below a heading of a file.

    The part ends with the next heading of the same or a higher level.
    """
    lines = (REPOSITORY / file).read_text().splitlines()
    start = lines.index(heading) + 1
    level = heading.partition(" ")[0]
    for line in lines[start:]:
        mark = line.partition(" ")[0]
        if mark.strip("#") == "" and 0 < len(mark) <= len(level):
            return
        row = _ROW.match(line)
        if row:
            yield from _CODE.findall(row[1])
