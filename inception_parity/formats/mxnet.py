"""MXNet's own binary lists of arrays: `.params`, as Gluon and Module write them.

Little-endian. A list is the word 0x112, a reserved word, the number of arrays and
the arrays, the number of names and the names. An array is a 32-bit magic number,
its storage type, its shape, the device it was on, its dtype, and its values. There
are four kinds of arrays, told apart by the magic number:

    0xF993FACA  with NumPy's idea of a shape, where 0 dimensions make a scalar
    0xF993FAC9  as above, where 0 dimensions make no array at all
    0xF993FAC8  without a storage type
    other       before all that: the word is the number of dimensions, of 32 bits each

Source: NDArray::Save and Load in MXNet 1.9's src/ndarray/ndarray.cc. Read here byte
by byte, so that nobody needs MXNet to get at weights that are in its files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import FEW, Content, decoded, head, stored

TITLE = "MXNet .params"

LIST = 0x112
NUMPY_SHAPE, STORAGE_TYPE, WIDE_SHAPE = 0xF993FACA, 0xF993FAC9, 0xF993FAC8
MOST_DIMENSIONS = 32  # NumPy's own limit
LONGEST_NAME = 4096  # bytes

# MXNet's number of a dtype -> ours
DTYPES = dict(
    enumerate(("float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool", "int16"))
)
DTYPES[12] = "bfloat16"


def recognise(path: Path) -> bool:
    """Return whether it begins as a list of arrays does."""
    return head(path, 16) == LIST.to_bytes(16, "little")


def read(path: Path) -> Content:
    """Return all arrays; those of a list without names are called 0, 1, 2, …"""
    arrays: list[NDArray[Any]] = []
    dtypes: list[str] = []
    with path.open("rb") as file:
        file.seek(16)
        reader = _Reader(file, path.stat().st_size)
        for _ in range(reader.count("arrays")):
            array, dtype = _array(reader)
            arrays.append(array)
            dtypes.append(dtype)
        names = [reader.name() for _ in range(reader.count("names"))]
    names = names or [str(number) for number in range(len(arrays))]
    if len(names) != len(arrays):
        raise ValueError(f"{len(arrays)} arrays, but {len(names)} names")
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{', '.join(twice)} twice in one file")
    return Content(
        "mxnet", dict(zip(names, arrays, strict=True)), dict(zip(names, dtypes, strict=True))
    )


class _Reader:
    """Reads words of a file, and nothing beyond its end."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        left = self.size - self.file.tell()
        if length > left:
            raise ValueError(f"{length:,} bytes are promised, {left:,} are left")
        taken = self.file.read(length)
        if len(taken) != length:
            raise ValueError("the file shrank while it was read")
        return taken

    def word(self, length: int = 4, signed: bool = True) -> int:
        """Return the next number, of `length` bytes."""
        return int.from_bytes(self.take(length), "little", signed=signed)

    def count(self, what: str) -> int:
        """Return how many arrays or names follow."""
        number = self.word(8, signed=False)
        if number > FEW:
            raise ValueError(f"{number:,} {what}, but at most {FEW:,} are read")
        return number

    def name(self) -> str:
        """Return the next name."""
        length = self.word(8, signed=False)
        if length > LONGEST_NAME:
            raise ValueError(f"a name of {length:,} bytes, but at most {LONGEST_NAME:,} are read")
        return self.take(length).decode("utf-8")


def _array(reader: _Reader) -> tuple[NDArray[Any], str]:
    """Read one array; what MXNet calls none comes as an empty one."""
    magic = reader.word(signed=False)
    if magic in (NUMPY_SHAPE, STORAGE_TYPE):
        storage = reader.word()
        if storage != 0:
            raise ValueError(
                f"storage type {storage}, a sparse array, but only dense ones are read"
            )
    wide = magic in (NUMPY_SHAPE, STORAGE_TYPE, WIDE_SHAPE)
    dimensions = reader.word() if wide else magic
    if not 0 <= dimensions <= MOST_DIMENSIONS:
        raise ValueError(f"an array of {dimensions} dimensions")
    shape = tuple(reader.word(8 if wide else 4, signed=wide) for _ in range(dimensions))
    if any(side < 0 for side in shape):
        raise ValueError(f"an array of shape {shape}")
    if not dimensions and magic != NUMPY_SHAPE:
        return np.zeros(0, np.float32), "none"
    reader.take(8)  # the device that it was on, and its number
    number = reader.word()
    if number not in DTYPES:
        raise ValueError(f"dtype {number}, but should be one of {', '.join(map(str, DTYPES))}")
    dtype = DTYPES[number]
    # Python's whole numbers: a product of 64-bit ones could wrap around to something small.
    values = reader.take(math.prod(shape) * stored(dtype).itemsize)
    return decoded(values, dtype, shape), dtype


def encode(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return a list of float32 arrays, as `mxnet.nd.save` writes it, whatever MXNet's mode."""
    parts = [LIST.to_bytes(16, "little"), len(arrays).to_bytes(8, "little")]
    for array in arrays.values():
        magic = STORAGE_TYPE.to_bytes(4, "little")
        words = np.array([0, array.ndim], "<i4").tobytes() + np.array(array.shape, "<i8").tobytes()
        device_and_dtype = np.array([1, 0, 0], "<i4").tobytes()  # CPU 0, float32
        values = np.ascontiguousarray(array, "<f4").tobytes()
        parts += [magic, words, device_and_dtype, values]
    parts.append(len(arrays).to_bytes(8, "little"))
    for name in arrays:
        text = name.encode()
        parts += [len(text).to_bytes(8, "little"), text]
    return b"".join(parts)
