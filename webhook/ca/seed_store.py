"""Where the seed can be stored instead of a Secret: in a mounted folder, or in memory."""

from collections.abc import Mapping
from pathlib import Path

from webhook.ports import ConflictError, StoredSeed, UnavailableError


class DirectorySeedStore:
    """A folder with one file per generation, as a Secret volume or a CSI driver mounts it.

    RayWarden never writes to it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self) -> StoredSeed | None:
        try:
            entries = {
                file.name: file.read_bytes() for file in self._folder.iterdir() if _is_entry(file)
            }
        except OSError as error:
            raise UnavailableError(
                f"the seed in {self._folder} cannot be read: {error.strerror}"
            ) from None
        return StoredSeed(entries) if entries else None

    async def create(self, entries: Mapping[str, bytes]) -> None:
        raise UnavailableError(
            f"there is no seed in {self._folder}: put a file of 32 random bytes there, "
            "named by the time of its activation, such as 20261120T080000Z"
        )

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        raise UnavailableError(
            f"RayWarden does not write to {self._folder}: "
            "change the seed at the source that it is mounted from"
        )


def _is_entry(file: Path) -> bool:
    # A Secret volume also contains `..data`, and the hidden folder to which that points.
    return not file.name.startswith("..") and file.is_file()


class MemorySeedStore:
    """A seed in memory, lost when the process ends: for development and tests."""

    def __init__(self) -> None:
        self._stored: StoredSeed | None = None

    async def load(self) -> StoredSeed | None:
        return self._stored

    async def create(self, entries: Mapping[str, bytes]) -> None:
        if self._stored:
            raise ConflictError("there is a seed already")
        self._stored = StoredSeed(dict(entries), "1")

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        if self._stored is not stored:
            raise ConflictError("the seed has changed since it was read")
        self._stored = StoredSeed(dict(entries), str(int(stored.version) + 1))
