"""Reads named arrays, in order, from the kinds of files that programs leave."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import formats
from ..errors import InputError
from ..formats import Arrays

WEIGHTS = (".safetensors", ".pt", ".pth", ".h5", ".params")
EXPECTED = "an .npz or .npy file, a folder of .npy files, or a file of weights (" + (
    ", ".join(WEIGHTS) + ")"
)


@dataclass(frozen=True)
class Tensors:
    """Named arrays.

    Args:
        title: what they are called in a report.
        arrays: by name, in order; bfloat16 as float32.
        dtypes: the dtype that each had where it comes from.
    """

    title: str
    arrays: Mapping[str, NDArray[Any]] = field(repr=False)
    dtypes: Mapping[str, str] = field(repr=False)


def is_source(text: str | Path) -> bool:
    """Return whether a path is one of named arrays, and not a trace's folder."""
    path = Path(text)
    if path.is_dir():
        return not (path / "trace.json").is_file() and any(path.rglob("*.npy"))
    return path.suffix in (".npz", ".npy", *WEIGHTS)


def read(path: Path) -> Tensors:
    """Read a file or a folder.

    Raises:
        InputError: it can't be read, or holds no array of numbers.
    """
    if path.is_dir():
        files = sorted(path.rglob("*.npy"), key=lambda file: _natural(str(file.relative_to(path))))
        found = {str(f.relative_to(path).with_suffix("")): _load(f) for f in files}
        return tensors_of(found, str(path))
    if path.suffix == ".npy":
        return tensors_of({path.stem: _load(path)}, str(path))
    if path.suffix == ".npz":
        return tensors_of(_archive(path), str(path))
    content = formats.read(path)
    made = tensors_of(content.arrays, str(path))
    return Tensors(made.title, made.arrays, {**made.dtypes, **content.dtypes})


def tensors_of(arrays: Mapping[str, Any], title: str) -> Tensors:
    """Return arrays of NumPy, or of anything that becomes one, under their names.

    Raises:
        InputError: there are none, or one doesn't hold numbers.
    """
    found: Arrays = {}
    dtypes = {}
    for name, given in arrays.items():
        array = np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
        dtypes[name] = array.dtype.name
        if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # as NumPy saves bfloat16
            dtypes[name] = "bfloat16"
            array = (array.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        if array.dtype.kind not in "fiubc":
            raise InputError(f"{title}: {name} is of dtype {array.dtype}, but should hold numbers")
        found[name] = array
    if not found:
        raise InputError(f"{title}: holds no arrays; give {EXPECTED}")
    return Tensors(title, found, dtypes)


def _load(file: Path) -> NDArray[Any]:
    try:
        array = np.load(file, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{file}: no such file") from error
    except Exception as error:  # NumPy raises whatever a broken header leads it to
        raise InputError(f"{file}: not an array that can be read ({error})") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: an archive, but should be one array; call it .npz")
    return array


def _archive(path: Path) -> Arrays:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # NumPy and zipfile raise whatever a broken file leads them to
        raise InputError(f"{path}: not an archive of arrays that can be read ({error})") from error


def _natural(text: str) -> list[tuple[int, str]]:
    """Return what sorts 2 before 10."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", text)]
