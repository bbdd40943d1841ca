"""Files written whole or not at all, temporary folders, digests of content."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError


def refuse_full(folder: Path) -> None:
    """Raise InputError unless `folder` can be made: there is none yet, or an empty one."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise InputError(f"{folder}: exists and isn't a folder; give another name")
    if folder.is_dir() and (any(folder.iterdir()) or os.path.ismount(folder)):
        raise InputError(f"{folder}: exists and isn't empty; give another folder")


@contextlib.contextmanager
def work_folder(target: Path | None) -> Iterator[Path]:
    """Make a folder for traces, next to `target` or in TMPDIR, and remove it at the end.

    Args:
        target: the folder that the traces, or one of them, will become; None if
            they are thrown away.

    Raises:
        InputError: `target` exists and isn't empty, or something can't be written.
    """
    if target is not None:
        refuse_full(target)
        target = target.absolute()
    parent = target.parent if target else None
    made = [p for p in (parent, *parent.parents) if not p.exists()] if parent else []
    folder = None
    try:
        if parent is not None:
            parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".inception-parity-", dir=parent))
        yield folder
    except OSError as error:
        where = target or "the folder for temporary files (TMPDIR)"
        raise InputError(f"{where}: can't be written ({error.strerror or error})") from error
    finally:
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):  # a parent that holds what was asked for stays
            for empty in made:
                empty.rmdir()


def settle(folder: Path, target: Path) -> None:
    """Let a finished folder, made in `work_folder(target)`, become `target`."""
    folder.chmod(0o755)
    folder.replace(target)


def require_writable(file: Path) -> None:
    """Raise InputError, before any work is done, unless `file` can be written."""
    if file.is_dir():
        raise InputError(f"{file}: is a folder; give the name of a file")
    if file.exists() and not file.is_file():
        raise InputError(f"{file}: is a device; give the name of a file")
    if not file.parent.is_dir():
        raise InputError(f"{file}: there is no folder {file.parent}; make it first")
    try:
        with tempfile.NamedTemporaryFile(dir=file.parent, prefix="."):
            pass  # permissions alone don't tell
    except OSError as error:
        raise InputError(
            f"{file}: the folder {file.parent} can't be written to ({error.strerror}); "
            "give another one"
        ) from error


def digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Return the sha256 over sorted (name, dtype, shape, bytes)."""
    sha = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        sha.update(f"{name} {array.dtype.name} {array.shape}\n".encode())
        sha.update(array.data if array.size else b"")
    return sha.hexdigest()


def content_hash(array: NDArray[Any]) -> str:
    """Return the sha256 of a contiguous array's bytes."""
    return hashlib.sha256(array.data if array.size else b"").hexdigest()


def save_array(file: Path, array: NDArray[Any]) -> None:
    """Write an .npy file.

    Given a file that can also be read, NumPy writes with Python's own functions;
    its own raises an error that doesn't say that a disk is full.
    """
    with file.open("w+b") as out:
        np.save(out, array)


def save_arrays(folder: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write each array to a file of its own in `folder`, which is made, and return the folder."""
    folder.mkdir(parents=True)
    for name, array in arrays.items():
        save_array(folder / f"{name}.npy", array)
    return folder


def mapped_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Return what `save_arrays` wrote as memory maps: all processes share the same pages."""
    return {f.stem: np.load(f, mmap_mode="r") for f in sorted(folder.glob("*.npy"))}


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[IO[bytes]]:
    """Yield a file to write, which becomes `path` at the end, whole or not at all."""
    temporary = None
    try:
        prefix = f".{path.name}-"
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, delete=False) as file:
            temporary = Path(file.name)
            yield file
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)  # it is gone already, unless something went wrong


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, whole or not at all."""
    with appearing(path) as file:
        file.write(json.dumps(value).encode())


def write_whole(path: Path, content: bytes, durable: bool = False) -> None:
    """Write a user's file, whole or not at all.

    Args:
        path: the file.
        content: all of it.
        durable: wait until the disk has it, so that not even a power cut leaves half a file.

    Raises:
        InputError: it can't be written there.
    """
    if path.exists() and not path.is_file():  # a device would be replaced by a file
        raise InputError(f"{path}: can't be written (it exists, and isn't a file)")
    try:
        with appearing(path) as file:
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise InputError(f"{path}: can't be written ({error.strerror})") from error
