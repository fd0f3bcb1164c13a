"""A file is replaced as a whole, or it stays."""

import os
import stat
from pathlib import Path

import pytest

from webhook.fixes.replace_file import CannotReplaceError, replace_file


def only(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_content_changes_and_the_mode_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a")
    file.chmod(0o640)
    owner = file.stat().st_uid, file.stat().st_gid
    replace_file(file, b"a", b"b")
    status = file.stat()
    assert file.read_bytes() == b"b"
    assert stat.S_IMODE(status.st_mode) == 0o640
    assert (status.st_uid, status.st_gid) == owner
    assert only(tmp_path) == ["a.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_the_owner_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a")
    os.chown(file, 1234, 2345)
    replace_file(file, b"a", b"b")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 2345)


def test_the_target_of_a_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "a.yaml", tmp_path / "link.yaml"
    target.write_bytes(b"a")
    link.symlink_to("folder/a.yaml")
    replace_file(link, b"a", b"b")
    assert link.is_symlink() and target.read_bytes() == b"b" and not target.is_symlink()


def test_a_file_that_changed_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"new")
    with pytest.raises(CannotReplaceError, match="it changed while it was reviewed"):
        replace_file(file, b"a", b"b")
    assert file.read_bytes() == b"new" and only(tmp_path) == ["a.yaml"]


def test_a_file_with_hard_links_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a")
    (tmp_path / "b.yaml").hardlink_to(file)
    with pytest.raises(CannotReplaceError, match="it has 2 hard links"):
        replace_file(file, b"a", b"b")
    assert file.read_bytes() == b"a"


def test_a_read_only_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a")
    file.chmod(0o444)
    with pytest.raises(CannotReplaceError, match="it is read-only"):
        replace_file(file, b"a", b"b")
    assert file.read_bytes() == b"a" and only(tmp_path) == ["a.yaml"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to every folder")
def test_a_file_in_a_read_only_folder_stays(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "a.yaml"
    file.parent.mkdir()
    file.write_bytes(b"a")
    file.parent.chmod(0o555)
    with pytest.raises(CannotReplaceError, match="Permission denied"):
        replace_file(file, b"a", b"b")
    file.parent.chmod(0o755)
    assert file.read_bytes() == b"a" and only(file.parent) == ["a.yaml"]


def test_what_is_no_file_stays(tmp_path: Path) -> None:
    with pytest.raises(CannotReplaceError, match="it is not a regular file"):
        replace_file(tmp_path, b"a", b"b")
    with pytest.raises(CannotReplaceError, match="No such file"):
        replace_file(tmp_path / "missing", b"a", b"b")


def test_a_file_of_two_names_is_replaced_once(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"a")
    (tmp_path / "b.yaml").symlink_to("a.yaml")
    for name in ("a.yaml", "b.yaml"):
        replace_file(tmp_path / name, b"a", b"b")
    assert file.read_bytes() == b"b"
