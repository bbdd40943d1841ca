"""Files of named arrays: one module per format, bytes on one side and arrays on the other.

A format's module has

    TITLE             what messages call it
    recognise(path)   whether the file is of this format, by its content, never by its
                      name; reads little, and raises nothing but OSError
    read(path)        a Content; InputError for whatever is wrong with the file

and imports its library, if it needs one, in the function that does. What the arrays
mean, whose names and layouts they have, is not decided here.

Files come from anywhere. Nothing in one is ever executed, its sizes are held against
the file's before memory is given to them, and what was read is at most FEW arrays.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, nearest

Arrays = dict[str, NDArray[Any]]

FORMATS = ("safetensors", "torch", "keras", "mxnet", "onnx")  # modules, in the order of asking
FEW = 20_000  # arrays in a file; the largest network here has under a thousand


@dataclass(frozen=True)
class Content:
    """What a file holds.

    Args:
        format: the format's module, one of FORMATS.
        arrays: by the names that they have in the file, in its order and layouts.
            Their dtypes are NumPy's; bfloat16, which it lacks, comes as float32.
        dtypes: the dtype that each array has in the file: `float32`, `bfloat16`, …
        metadata: what the file says of itself.
    """

    format: str
    arrays: Arrays = field(repr=False)
    dtypes: Mapping[str, str] = field(repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Format(Protocol):
    """What every module of a format has."""

    TITLE: str

    def recognise(self, path: Path) -> bool:
        """Return whether the file is of this format."""

    def read(self, path: Path) -> Content:
        """Return all that the file holds."""


def module(name: str) -> Format:
    """Return the module of a format."""
    if name not in FORMATS:
        raise InputError(
            f"no format {name!r}{nearest(name, FORMATS)}; there are: {', '.join(FORMATS)}"
        )
    return cast(Format, importlib.import_module(f".{name}", __name__))


def recognise(path: Path) -> str:
    """Return the format of a file, which its content decides.

    Raises:
        InputError: there is no such file, it can't be read, or it is none of FORMATS.
    """
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        for name in FORMATS:
            if module(name).recognise(path):
                return name
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    titles = ", ".join(module(name).TITLE for name in FORMATS)
    raise InputError(f"{path}: not in a supported format ({titles})")


def read(path: Path) -> Content:
    """Read a file of any format.

    Raises:
        InputError: it can't be read, is of no known format, or is broken.
    """
    found = module(recognise(path))
    try:
        return found.read(path)
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error


def head(path: Path, length: int) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(length)


def broken(path: Path, title: str, why: object) -> NoReturn:
    """Raise InputError: the file is of that format, but truncated or damaged."""
    raise InputError(f"{path}: a broken {title} file, or a truncated one ({why})")


@contextlib.contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let this process take at most `more` bytes beyond what it has; elsewhere than on Linux, all.

    What asks for more is refused by the system, and its library says so.
    """
    try:
        import resource

        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + more
    if soft != resource.RLIM_INFINITY:
        limit = min(limit, soft)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def from_bfloat16(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Turn bfloat16, as 16-bit words, into the float32 of the same values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
