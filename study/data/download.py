"""Published datasets from their public addresses, in the folders in which readers look for them.

Of an archive, the plain files below one folder are written and nothing else, so that neither a link
nor a path in it leads elsewhere.
"""

import hashlib
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from http.client import HTTPException
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.request import Request, urlopen

from study.data.readers.benchmarks import BENCHMARKS, download_note
from study.errors import DataError
from study.storage.folders import new_folder

ANSWERS_WITHIN = 20.0
"""How many seconds a server may be silent."""
COMPLETE = 416
"""The HTTP status of a request for what follows the last byte."""
Files = Iterator[tuple[PurePosixPath, IO[bytes]]]
"""The path and the contents of each file of an archive."""
BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError)
"""What damaged archives raise."""


def fetch_benchmark(name: str, root: Path) -> dict[str, str]:
    """Fetch the files of a published dataset that are not there yet.

    A download that was interrupted goes on where it ended.

    Args:
        name: one of `BENCHMARKS`.
        root: the data root, whose existing files are never replaced.

    Returns:
        The SHA-256 of each file that was fetched, by its address.

    Raises:
        DataError: no address of it is known, or a file cannot be had or is not the published one.
    """
    downloads = BENCHMARKS[name].downloads
    if not downloads:
        raise DataError(f"{name} is not fetched by this program. {download_note(name, root)}")
    digests = {}
    for number, download in enumerate(downloads):
        target = root / download.to
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        part = root / f".{name}-{number}.part"
        _read_rest(download.url, part)
        try:
            with part.open("rb") as file:
                digests[download.url] = _checked_digest(file, download.md5)
                if download.inside:
                    with new_folder(target) as folder:
                        _write_files(_files_below(file, *download.inside), folder)
        except BROKEN as error:
            part.unlink()
            raise DataError(f"{download.url} is not the published file: {error}") from error
        if download.inside:
            part.unlink()
        else:
            part.replace(target)
    return digests


def _read_rest(url: str, part: Path) -> None:
    """Append what a file lacks of a download, and show its progress."""
    from rich.progress import wrap_file  # most who read datasets fetch none

    size = 0
    if part.exists():
        size = part.stat().st_size
    # Each URL stands in a table of the package.
    request = Request(url, headers={"User-Agent": "clipfit-study", "Range": f"bytes={size}-"})  # noqa: S310
    try:
        with urlopen(request, timeout=ANSWERS_WITHIN) as answer:  # noqa: S310
            if answer.headers.get_content_type() == "text/html":
                raise DataError(f"{url} answers with a page in place of the file")
            mode = "wb"
            if answer.status == 206:
                mode = "ab"
            shown = wrap_file(answer, answer.length or 0, description=url)
            with part.open(mode) as file, shown as contents:
                shutil.copyfileobj(contents, file, 1 << 20)
            if answer.length:
                raise DataError(f"{url}: {answer.length:,} bytes are missing at the end")
    except (OSError, HTTPException) as error:
        if getattr(error, "code", None) != COMPLETE:
            reason = getattr(error, "reason", error)
            raise DataError(f"{url} cannot be fetched: {reason}") from error


def _checked_digest(file: BufferedReader, published: str) -> str:
    """Return the SHA-256 of a file that has the published MD5, if there is one.

    Raises:
        TarError: it has another.
    """
    md5 = hashlib.file_digest(file, "md5").hexdigest()
    if published and md5 != published:
        raise tarfile.TarError(f"its MD5 is {md5}, and {published} is published")
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


def _write_files(files: Files, folder: Path) -> None:
    for path, contents in files:
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as file:
            shutil.copyfileobj(contents, file)
    if not folder.exists():
        raise tarfile.TarError("the folder of the images is not in it")


def _files_below(archive: IO[bytes], inside: str, *further: str) -> Files:
    """Yield the path and the contents of each plain file below a folder of an archive.

    Args:
        archive: the archive.
        inside: the folder; with `further`, the archive that has it.
        *further: the same of that archive.
    """
    for name, contents in _plain_files(archive):
        path = PurePosixPath(name)
        if further and name == inside:
            yield from _files_below(contents, *further)
        elif path.is_relative_to(inside) and ".." not in path.parts:
            yield path.relative_to(inside), contents


def _plain_files(archive: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for entry in zipped.infolist():
                if not entry.is_dir():
                    with zipped.open(entry) as contents:
                        yield entry.filename, contents
        return
    archive.seek(0)
    with tarfile.open(fileobj=archive) as packed:
        for member in packed:
            unpacked = member.isfile() and packed.extractfile(member)
            if unpacked:
                yield member.name, unpacked
