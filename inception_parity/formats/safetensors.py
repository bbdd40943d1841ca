"""safetensors: our own files of shared weights, and state dicts of PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import FEW, Content, broken, from_bfloat16, head

TITLE = "safetensors"
LARGEST_HEADER = 1 << 22  # bytes, and 100 a tensor; those of the networks here are under 2^17

# safetensors' name of a dtype -> NumPy's in the file, and ours
DTYPES = {
    "F64": ("<f8", "float64"),
    "F32": ("<f4", "float32"),
    "F16": ("<f2", "float16"),
    "BF16": ("<u2", "bfloat16"),
    **{f"I{8 * n}": (f"<i{n}", f"int{8 * n}") for n in (1, 2, 4, 8)},
    **{f"U{8 * n}": (f"<u{n}", f"uint{8 * n}") for n in (1, 2, 4, 8)},
    "BOOL": ("?", "bool"),
}


def recognise(path: Path) -> bool:
    """Return whether it begins with a length and, that far into the file, an object."""
    start = head(path, 9)
    length = int.from_bytes(start[:8], "little")
    return start[8:] == b"{" and 2 <= length < 1 << 40


def refuse_long_header(path: Path) -> int:
    """Return the length of the header; InputError if it is longer than any network's."""
    length = int.from_bytes(head(path, 8), "little")
    if length > LARGEST_HEADER and recognise(path):
        raise InputError(
            f"{path}: a safetensors header of {length:,} bytes, but at most "
            f"{LARGEST_HEADER:,} are read; no network here has so many arrays"
        )
    return length


def read(path: Path) -> Content:
    """Return all arrays; `metadata` is the header's `__metadata__`."""
    from safetensors import SafetensorError, safe_open

    length = refuse_long_header(path)
    try:
        with safe_open(path, "np") as file:  # which checks offsets, shapes and dtypes
            metadata = file.metadata() or {}
    except SafetensorError as error:
        broken(path, TITLE, error)
    arrays, dtypes = {}, {}
    with path.open("rb") as raw:
        header = json.loads(raw.read(8 + length)[8:])
        header.pop("__metadata__", None)
        if len(header) > FEW:
            raise InputError(f"{path}: {len(header):,} arrays, but at most {FEW:,} are read")
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            if entry["dtype"] not in DTYPES:
                raise InputError(
                    f"{path}: {name} has dtype {entry['dtype']}, but should have one of "
                    f"{', '.join(DTYPES)}"
                )
            native, dtypes[name] = DTYPES[entry["dtype"]]
            begin, end = entry["data_offsets"]
            raw.seek(8 + length + begin)
            array = np.frombuffer(raw.read(end - begin), native).reshape(entry["shape"])
            arrays[name] = from_bfloat16(array) if dtypes[name] == "bfloat16" else array
    return Content("safetensors", arrays, dtypes, metadata)
