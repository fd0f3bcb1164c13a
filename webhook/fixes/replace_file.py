"""A file is replaced as a whole, or not at all."""

import contextlib
import os
import shutil
import stat
import tempfile
from pathlib import Path

_WRITABLE = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH


class CannotReplaceError(Exception):
    """The file stays as it is; the message says why."""


def replace_file(path: Path, before: bytes, after: bytes) -> None:
    """Replace the content of a file that still holds `before`, and keep its mode and owner.

    Of a symbolic link, the file that it leads to is replaced. Raises CannotReplaceError.
    """
    try:
        target = path.resolve(strict=True)
        status = target.stat()
        _check(target, status)
        content = target.read_bytes()
        # One file can be reviewed by several names.
        if content == after:
            return
        if content != before:
            raise CannotReplaceError("it changed while it was reviewed")
        _replace(target, status, after)
    except OSError as error:
        raise CannotReplaceError(error.strerror or str(error)) from None


def _check(target: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise CannotReplaceError("it is not a regular file")
    # For root, the mode alone says that a file should stay as it is.
    if not status.st_mode & _WRITABLE or not os.access(target, os.W_OK):
        raise CannotReplaceError("it is read-only")
    if status.st_nlink > 1:
        # The other names would keep the old content.
        raise CannotReplaceError(f"it has {status.st_nlink} hard links")


def _replace(target: Path, status: os.stat_result, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            created = os.fstat(descriptor)
            if (created.st_uid, created.st_gid) != (status.st_uid, status.st_gid):
                os.fchown(descriptor, status.st_uid, status.st_gid)
            # Also extended attributes, which hold access lists.
            shutil.copystat(target, name)
            os.utime(name)
            os.fsync(descriptor)
        os.replace(name, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
    _sync_folder(target.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
