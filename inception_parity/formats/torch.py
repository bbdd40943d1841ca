"""State dicts of PyTorch: `.pth` and `.pt`, zip archives and the older bare pickles.

They are read with `torch.load(weights_only=True)`, which rebuilds tensors and calls
nothing else, and never in another way. What such a file could still do is claim more
memory than it has bytes, so its members are looked at first, and its tensors before
they are copied.
"""

from __future__ import annotations

import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, needs
from . import Content, head, require_few

TITLE = "PyTorch"

LARGEST_PICKLE = 1 << 24  # bytes: names and shapes; those of the networks here are under 2^18
# How `torch.save` began before it made archives: a pickled number, in protocol 2.
LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
WRAPPERS = ("state_dict", "model", "model_state_dict")  # in which training scripts put one


def recognise(path: Path) -> bool:
    """Return whether it is an archive with a pickle in a folder, or begins as older files do."""
    if head(path, len(LEGACY)) == LEGACY:
        return True
    return any(_is_pickle(name) for name in member_names(path))


def member_names(path: Path) -> list[str]:
    """Return the names of a zip archive's members; none if it isn't one, or a broken one."""
    if head(path, 4) != b"PK\x03\x04":
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError):
        return []


def require_stored(path: Path, title: str) -> list[zipfile.ZipInfo]:
    """Return a zip archive's members; InputError unless it holds them as they are, side by side.

    Compressed ones are how a small file becomes a large one; neither PyTorch nor
    Keras compresses.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    require_few(len(members), "members")
    packed = [m.filename for m in members if m.compress_type or m.file_size != m.compress_size]
    if packed:
        raise InputError(
            f"{packed[0]} is compressed, which {title} never does; "
            "save it again with the library it comes from"
        )
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise InputError("its members overlap, as in a zip bomb")
    return members


def read(path: Path) -> Content:
    """Return all tensors of a state dict.

    Raises:
        InputError: PyTorch isn't installed, or the file holds anything but tensors
            by name: code, for example, which isn't run.
    """
    what = "a PyTorch file, which only PyTorch can read"
    with needs(what, "torch", instead=", or save it as safetensors"):
        import torch
    if head(path, 2) == b"PK":
        members = require_stored(path, TITLE)
        largest = max(m.file_size for m in members if _is_pickle(m.filename))
        if largest > LARGEST_PICKLE:
            raise InputError(f"a pickle of {largest:,} bytes, for names and shapes alone")
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).split("\n")[0]
        raise InputError(
            "holds more than tensors, or is broken; nothing in it was run. Save "
            f"`model.state_dict()` alone ({reason})"
        ) from error
    return _content(state_dict(loaded), path.stat().st_size)


def _is_pickle(member: str) -> bool:
    folder, slash, name = member.rpartition("/")
    return name == "data.pkl" and slash != "" and "/" not in folder


def state_dict(loaded: Any) -> Mapping[str, Any]:
    """Find the state dict in what was loaded: itself, or in one of the usual wrappers."""
    for name in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(name), Mapping):
            loaded = loaded[name]
    if not isinstance(loaded, Mapping):
        raise InputError(f"holds a {type(loaded).__name__}, but should hold a state dict")
    require_few(len(loaded), "entries")
    return loaded


def _content(state: Mapping[str, Any], size: int) -> Content:
    import torch

    wrong = [
        f"{str(name)[:200]!r}: a {type(value).__name__}, but should be a tensor"
        for name, value in state.items()
        if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    ]
    wrong += [
        f"{name}: {str(value.layout).removeprefix('torch.')} {value.dtype!s}"
        f"{' on ' + value.device.type if value.device.type != 'cpu' else ''}, "
        "but should be dense numbers"
        for name, value in state.items()
        if isinstance(value, torch.Tensor) and not _plain(value)
    ]
    if wrong:
        raise InputError("not a state dict of tensors:\n  " + "\n  ".join(wrong[:20]))
    claimed = sum(math.prod(t.shape) * t.element_size() for t in state.values())
    if claimed > size:  # strides of 0 repeat a number as often as one likes
        raise InputError(f"its tensors have {claimed:,} bytes, more than the file")
    arrays: dict[str, NDArray[Any]] = {}
    dtypes = {}
    for name, tensor in state.items():
        dtypes[name] = str(tensor.dtype).removeprefix("torch.")
        tensor = tensor.detach()
        arrays[name] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return Content("torch", arrays, dtypes)


def _plain(tensor: Any) -> bool:
    import torch

    return (
        tensor.layout == torch.strided
        and tensor.device.type == "cpu"
        and not tensor.is_quantized
        and not tensor.is_complex()
        and tensor.element_size() <= 8
        and not str(tensor.dtype).startswith("torch.float8")
    )


def write(
    path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> None:
    """Write a state dict: safetensors if `metadata` is given, else an archive by PyTorch.

    Batch norm's count of batches, which the other frameworks lack, is 0.

    Raises:
        InputError: PyTorch isn't installed, and the file isn't to be safetensors.
    """
    state = dict(arrays)
    for name in arrays:
        if name.endswith("running_var"):
            state[name.removesuffix("running_var") + "num_batches_tracked"] = np.zeros((), np.int64)
    if metadata is not None:
        from safetensors.numpy import save

        contiguous = {name: np.ascontiguousarray(array) for name, array in state.items()}
        path.write_bytes(save(contiguous, {"format": "pt", **metadata}))
        return
    what = f"{path.name}: only PyTorch can write its archives"
    with needs(what, "torch", instead=", or write safetensors"):
        import torch
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in state.items()}, path)
