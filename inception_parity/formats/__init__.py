"""Files of named arrays: one module per format, bytes on one side and arrays on the other.

A format's module has

    TITLE             what messages call it
    recognise(path)   whether the file is of this format, by its content, never by its
                      name; reads little, and raises nothing but OSError
    read(path)        a Content; InputError, without the file's name, for what is refused,
                      any other exception for a broken file

and imports its library, if it needs one, in the function that does. What the arrays
mean, whose names and layouts they have, is not decided here.

Files come from anywhere. Nothing in one is ever executed, the sizes it states are compared
with its own before memory is allocated, and at most FEW arrays are read.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

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
    require_file(path)
    try:
        for name in FORMATS:
            if module(name).recognise(path):
                return name
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror})") from error
    titles = ", ".join(module(name).TITLE for name in FORMATS)
    raise InputError(f"{path}: not in a supported format ({titles})")


def require_file(path: Path) -> None:
    """Raise InputError unless there is such a file."""
    if not path.is_file():
        raise InputError(f"{path}: {'not a file' if path.exists() else 'no such file'}")


def read(path: Path, form: str | None = None) -> Content:
    """Read a file.

    Args:
        path: the file.
        form: its format, one of FORMATS; None to recognise it.

    Raises:
        InputError: it can't be read, is of no known format, or is broken.
    """
    require_file(path)
    found = module(form or recognise(path))
    try:
        return found.read(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except MemoryError as error:
        why = "it claims more memory than there is"
        raise InputError(_broken(path, found, why)) from error
    except Exception as error:  # a library raises whatever a broken file leads it to
        # The system's, not h5py's; a seek to a place that doesn't exist is the broken file's fault.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise InputError(f"{path}: can't be read ({error.strerror})") from error
        why = str(error).split("\n")[0][:200] or type(error).__name__
        raise InputError(_broken(path, found, why)) from error


def _broken(path: Path, found: Format, why: str) -> str:
    return f"{path}: a broken {found.TITLE} file, or a truncated one ({why})"


def require_few(count: int, what: str) -> None:
    """Raise InputError if a file has too many arrays, names or other parts."""
    if count > FEW:
        raise InputError(f"{count:,} {what}, but at most {FEW:,} are read")


def head(path: Path, length: int) -> bytes:
    """Return the first bytes of a file."""
    with path.open("rb") as file:
        return file.read(length)


@contextlib.contextmanager
def memory_limit(more: int) -> Iterator[None]:
    """Let this process allocate at most `more` bytes beyond what it has; only on Linux.

    The system refuses larger requests, and the library that made them reports it.
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


def stored(dtype: str) -> np.dtype[Any]:
    """Return how a file holds numbers of a dtype: little-endian, bfloat16 as 16-bit words."""
    return np.dtype("uint16" if dtype == "bfloat16" else dtype).newbyteorder("<")


def decoded(content: bytes | memoryview, dtype: str, shape: Sequence[int]) -> NDArray[Any]:
    """Return the array that these bytes of a file are; bfloat16 becomes float32."""
    array = np.frombuffer(content, stored(dtype)).reshape(shape)
    return (array.astype(np.uint32) << 16).view(np.float32) if dtype == "bfloat16" else array
