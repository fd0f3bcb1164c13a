"""How files are named in what outlives a review: relative to a folder, with slashes."""

import os
from pathlib import PurePath


def file_in(folder: PurePath, file: str) -> str:
    """The path of a file relative to `folder`; the absolute path of a file outside of it."""
    path = PurePath(os.path.normpath(folder / file))
    if path.is_relative_to(folder):
        path = path.relative_to(folder)
    return path.as_posix()
