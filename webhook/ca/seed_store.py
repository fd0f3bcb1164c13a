"""Where the seed can be, beside a Secret: a mounted folder, or memory alone."""

from collections.abc import Mapping
from pathlib import Path

from webhook.ports import ConflictError, StoredSeed, UnavailableError


class DirectorySeedStore:
    """A folder with one file for each generation, as a Secret volume or a CSI driver mounts it. Never written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self) -> StoredSeed | None:
        # A Secret volume also holds `..data` and the folder that points to.
        try:
            files = [
                file
                for file in self._folder.iterdir()
                if not file.name.startswith("..") and file.is_file()
            ]
            return StoredSeed({file.name: file.read_bytes() for file in files}) if files else None
        except OSError as error:
            raise UnavailableError(
                f"the seed in {self._folder} cannot be read: {error.strerror}"
            ) from None

    async def create(self, entries: Mapping[str, bytes]) -> None:
        raise UnavailableError(
            f"there is no seed in {self._folder}: put a file of 32 random bytes there, "
            "named by the time of its activation, as 20261120T080000Z"
        )

    async def replace(self, stored: StoredSeed, entries: Mapping[str, bytes]) -> None:
        raise UnavailableError(f"the seed in {self._folder} is managed where it is mounted from")


class MemorySeedStore:
    """A seed that ends with this process."""

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
