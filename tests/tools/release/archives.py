"""Archives and checksums with the same bytes wherever they are made."""

import gzip
import hashlib
import io
import tarfile
from pathlib import Path

CHECKSUMS = "SHA256SUMS"


def tar_gz(folder: Path, target: Path, epoch: int) -> None:
    """Write `target` with all files of `folder` below the folder's own name.

    Order, modes, owners and times do not depend on the machine. Links are archived as what they
    point to, as `helm package` does.
    """
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=epoch) as compressed,
        tarfile.TarFile(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file in files:
            content = file.read_bytes()
            member = tarfile.TarInfo(f"{folder.name}/{file.relative_to(folder).as_posix()}")
            member.size, member.mtime, member.mode = len(content), epoch, 0o644
            archive.addfile(member, io.BytesIO(content))


def sha256(file: Path) -> str:
    """The SHA-256 of a file in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_checksums(folder: Path) -> Path:
    """Write SHA256SUMS, which `sha256sum --check` reads, for the files of a folder."""
    files = sorted(file for file in folder.iterdir() if file.name != CHECKSUMS)
    target = folder / CHECKSUMS
    target.write_text("".join(f"{sha256(file)}  {file.name}\n" for file in files))
    return target
