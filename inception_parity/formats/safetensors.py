"""safetensors: our own files of shared weights, and state dicts of PyTorch."""

from __future__ import annotations

import json
from pathlib import Path

from ..errors import InputError
from . import Content, decoded, head, require_few

TITLE = "safetensors"
LARGEST_HEADER = 1 << 22  # bytes, and 100 a tensor; those of the networks here are under 2^17

# safetensors' name of a dtype -> ours
DTYPES = {
    **{f"F{bits}": f"float{bits}" for bits in (64, 32, 16)},
    "BF16": "bfloat16",
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "BOOL": "bool",
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
            f"a safetensors header of {length:,} bytes, but at most {LARGEST_HEADER:,} are read; "
            "no network here has so many arrays"
        )
    return length


def read(path: Path) -> Content:
    """Return all arrays; `metadata` is the header's `__metadata__`."""
    from safetensors import safe_open

    length = refuse_long_header(path)
    with safe_open(path, "np") as file:  # which checks offsets, shapes and dtypes
        metadata = file.metadata() or {}
    arrays, dtypes = {}, {}
    with path.open("rb") as raw:
        header = json.loads(raw.read(8 + length)[8:])
        header.pop("__metadata__", None)
        require_few(len(header), "arrays")
        for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            if entry["dtype"] not in DTYPES:
                raise InputError(
                    f"{name} has dtype {entry['dtype']}, but should have one of {', '.join(DTYPES)}"
                )
            dtypes[name] = DTYPES[entry["dtype"]]
            begin, end = entry["data_offsets"]
            raw.seek(8 + length + begin)
            arrays[name] = decoded(raw.read(end - begin), dtypes[name], entry["shape"])
    return Content("safetensors", arrays, dtypes, metadata)
