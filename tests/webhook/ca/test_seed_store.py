"""The seed in a mounted folder."""

import asyncio
from pathlib import Path

from tests.support import live_objects
from webhook.ca.seed_store import DirectorySeedStore


def test_a_folder_is_read_as_a_secret_volume_is_mounted(tmp_path: Path) -> None:
    (tmp_path / "..2026_11_20").mkdir()
    (tmp_path / "..2026_11_20" / "20260101T000000Z").write_bytes(live_objects.secret(2))
    (tmp_path / "..data").symlink_to("..2026_11_20")
    (tmp_path / "20260101T000000Z").symlink_to("..data/20260101T000000Z")
    stored = asyncio.run(DirectorySeedStore(tmp_path).load())
    assert stored and stored.entries == {"20260101T000000Z": live_objects.secret(2)}
