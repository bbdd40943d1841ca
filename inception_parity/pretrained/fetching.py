"""Downloads of trained weights, into a cache that processes and users may share.

The cache has a folder for each name, with the file as its authors call it. A file gets that name
when all of it has arrived and agrees with what is published; until then its name begins with a dot
and ends in `.part`, and an interrupted download goes on from there. Processes that want the same
file wait for one another.

    INCEPTION_PARITY_CACHE    the cache's folder, in place of the user's own
    INCEPTION_PARITY_OFFLINE  1: nothing is downloaded
    INCEPTION_PARITY_MIRROR   a URL that files are fetched from instead; it is laid out like the
                              folder `weights` of a cache, so that one can be served as a mirror
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..data import download
from ..errors import InputError, needs
from ..files import write_whole
from .index import Entry, known
from .transfer import Transfer, TransferError

Say = Callable[[str], None]
MIRROR = "INCEPTION_PARITY_MIRROR"


def on_stderr(text: str) -> None:
    """Print a line on the standard error."""
    print(text, file=sys.stderr)


def local_file(name: str | Path, say: Say = on_stderr) -> Path:
    """Return the file of weights of a name, downloading it if it isn't there yet.

    Args:
        name: a name in the index; a path of a file is returned as it is.
        say: told in lines what is done, if that takes long.

    Raises:
        InputError: it can't be had, or isn't the published file; says what to fetch by hand.
    """
    wanted = known(name)
    if wanted is None:
        return Path(name)
    file = cached(wanted)
    if file.is_file():  # it got its name when it was whole, so nothing needs to be locked
        require_published(wanted, file)
        return file
    if download.is_offline():
        raise InputError(
            f"{wanted.name}: not in the cache, and {download.OFFLINE} is set{by_hand(wanted)}"
        )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(file.parent, say):
            if not file.is_file():  # another process may have fetched it meanwhile
                _fetch(wanted, file, say)
    except OSError as error:
        raise InputError(
            f"{file.parent}: can't be written ({error.strerror or error}); set "
            f"{download.CACHE} to a folder that can, or make room{by_hand(wanted)}"
        ) from error
    require_published(wanted, file)
    return file


def cached(wanted: Entry) -> Path:
    """Return where an entry's file is in the cache, once it is there."""
    return download.cache_root() / "weights" / wanted.name / wanted.file


def by_hand(wanted: Entry) -> str:
    """Say what a user without a network can do."""
    unpack = f", unpack {wanted.member}" if wanted.member else ""
    return f"; to do it by hand, fetch {wanted.url}{unpack} and put it at {cached(wanted)}"


def require_published(wanted: Entry, file: Path) -> None:
    """Raise InputError unless a file in the cache has the published digest, or size.

    Where no digest is published, the file's sha256 is kept beside it when it first arrives.
    """
    problem = _problem(wanted, file)
    if problem:
        raise InputError(f"{file}: {problem}; remove it, and it is fetched again")
    note = _note(file)
    if not wanted.digest and not note.is_file():
        with contextlib.suppress(InputError):  # a cache that others fill may be read-only
            write_whole(note, _hash(file, "sha256").encode())


def _problem(wanted: Entry, file: Path) -> str:
    """Return why a file isn't the published one."""
    count = file.stat().st_size
    if not wanted.has_size(count):
        return f"{count:,} bytes, but {wanted.size} are published"
    stated, where = wanted.digest.partition(":")[2], "published"
    if not stated and _note(file).is_file():
        stated, where = _note(file).read_text().strip(), "its digest when it first arrived"
    found = _hash(file, wanted.algorithm)
    if not found.startswith(stated):
        more = "…" if len(stated) < len(found) else ""
        return f"{wanted.algorithm} {found}, but {stated}{more} is {where}"
    return ""


def _note(file: Path) -> Path:
    return file.with_name(f"{file.name}.sha256")


def _hash(file: Path, algorithm: str) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, algorithm).hexdigest()


@contextlib.contextmanager
def _locked(folder: Path, say: Say) -> Iterator[None]:
    """Hold the lock of an entry's folder, which ends with the process that holds it."""
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that downloads {folder.name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _fetch(wanted: Entry, file: Path, say: Say) -> None:
    """Download an entry's file, check it, and give it its name."""
    with needs("downloads need pooch", "data", instead=by_hand(wanted)):
        import pooch

    mirror = os.environ.get(MIRROR, "").rstrip("/")
    url = f"{mirror}/{wanted.name}/{wanted.file}" if mirror else wanted.url
    part = file.with_name(f".{file.name}.part")
    unpacked = file.with_name(f".{file.name}.unpacked")
    pooch.get_logger().setLevel("ERROR")

    def check(arrived: Path) -> None:
        """Raise TransferError unless what has arrived is what was published."""
        if wanted.member and not mirror:
            _unpack(arrived, wanted.member, unpacked)
            arrived = unpacked
        problem = _problem(wanted, arrived)
        if problem:
            raise TransferError(f"not the published file: {problem}; nothing was kept")

    say(f"downloading {url}")
    transfer = Transfer(part, () if mirror else wanted.hosts, check, say)
    for left in file.parent.glob("tmp*"):  # by pooch, in a process that was killed
        left.unlink()
    try:
        name = f".{file.name}.arrived"
        pooch.retrieve(url, None, fname=name, path=file.parent, downloader=transfer)
        arrived = file.with_name(name)
        if wanted.member and not mirror:
            arrived.unlink()
            arrived = unpacked
        if not wanted.digest:
            write_whole(_note(file), _hash(arrived, "sha256").encode())
        arrived.replace(file)
    except TransferError as error:
        raise InputError(f"{url}: {error}{by_hand(wanted)}") from error
    finally:
        unpacked.unlink(missing_ok=True)


def _unpack(archive: Path, member: str, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(archive) as file,
            file.open(member) as content,
            target.open("wb") as out,
        ):
            shutil.copyfileobj(content, out)
    except (zipfile.BadZipFile, KeyError, EOFError, zipfile.LargeZipFile) as error:
        raise TransferError(f"not an archive with {member} ({error}); nothing was kept") from error
