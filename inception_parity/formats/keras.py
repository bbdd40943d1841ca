"""Files of Keras: `.keras`, `.weights.h5`, and the older `.h5` with or without a model.

All of them are HDF5, the first one inside a zip archive. h5py reads arrays; the
description of the model beside them is read as JSON, never built, since it may name
functions to be called.

The arrays come with the names that Keras' own loading goes by: in the newer files
`layers/conv2d_7/vars/0`, where 7 counts layers of that kind in the model's order; in
the older ones `NAME OF LAYER/NAME OF ARRAY`, in the order of the attribute `layer_names`.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import FEW, Content, broken, from_bfloat16, head, memory_limit
from .torch import member_names, require_stored

TITLE = "Keras HDF5"

SIGNATURE = b"\x89HDF\r\n\x1a\n"
WEIGHTS = "model.weights.h5"  # in a .keras archive, beside config.json and metadata.json
LARGEST_CONFIG = 1 << 24  # bytes; that of InceptionV3 has 2^18
DEEPEST = 12  # levels of groups
BUFFERS = 12 << 20  # bytes that HDF5 takes whatever the file


class _RefusedError(Exception):
    """HDF5 allows this, but no Keras file does it."""


def recognise(path: Path) -> bool:
    """Return whether it is HDF5, or an archive that holds Keras' weights."""
    return head(path, len(SIGNATURE)) == SIGNATURE or WEIGHTS in member_names(path)


def read(path: Path) -> Content:
    """Return all arrays; `metadata` has `config`, the model's, where the file has one.

    Raises:
        InputError: h5py isn't installed, or the file is broken or uses what no
            file of Keras' uses: compression, links, other files.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path}: a Keras file, which needs h5py to read ({error}); "
            "pip install 'inception-parity[tensorflow]'"
        ) from error
    size = path.stat().st_size
    try:
        # HDF5 takes what a string of variable length says of itself, before it looks for it.
        with memory_limit(3 * size + BUFFERS):
            if head(path, 8) == SIGNATURE:
                with h5py.File(path, "r") as file:
                    return _content(file, size)
            return _read_archive(path, size)
    except _RefusedError as error:
        raise InputError(f"{path}: {error}; save it again with Keras") from error
    except MemoryError:
        broken(path, TITLE, "it claims more memory than there is")
    except InputError:
        raise
    except Exception as error:  # h5py raises whatever a broken file leads it to
        broken(path, TITLE, str(error).split("\n")[0][:200] or type(error).__name__)


def _read_archive(path: Path, size: int) -> Content:
    import h5py

    require_stored(path, ".keras")
    with zipfile.ZipFile(path) as archive:
        inner = archive.read(WEIGHTS)
        names = set(archive.namelist())
        config = _json(archive, "config.json") if "config.json" in names else {}
        about = _json(archive, "metadata.json") if "metadata.json" in names else {}
    stream: BinaryIO = io.BytesIO(inner)
    with h5py.File(stream, "r") as file:
        content = _content(file, size)
    more = {"keras_version": about.get("keras_version"), "config": config}
    return Content("keras", content.arrays, content.dtypes, {**content.metadata, **more})


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if archive.getinfo(name).file_size > LARGEST_CONFIG:
        raise _RefusedError(f"{name} has over {LARGEST_CONFIG:,} bytes")
    return _object(archive.read(name))


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _RefusedError(f"the description of its model isn't JSON ({error})") from error
    return found if isinstance(found, dict) else {}


def _content(file: Any, size: int) -> Content:
    """Read an open file: the newer kind has groups `layers`, the older one `layer_names`."""
    root = _child(file, "model_weights") if "model_weights" in file else file
    older = any(name.startswith("layer_names") for name in root.attrs)
    datasets = dict(_older(root, size) if older else _newer(root))
    if len(datasets) > FEW:
        raise _RefusedError(f"{len(datasets):,} arrays, but at most {FEW:,} are read")
    claimed = sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values())
    if claimed > size:
        raise _RefusedError(f"its arrays have {claimed:,} bytes, more than the file")
    arrays: dict[str, NDArray[Any]] = {}
    dtypes = {}
    for name, dataset in datasets.items():
        arrays[name], dtypes[name] = _values(dataset)
    metadata: dict[str, Any] = {"layout": "older" if older else "newer"}
    for name in ("keras_version", "backend"):
        if name in root.attrs:
            metadata[name] = _text(_attribute(root, name, size))
    if "model_config" in file.attrs:
        metadata["config"] = _object(_text(_attribute(file, "model_config", size)))
    return Content("keras", arrays, dtypes, metadata)


def _attribute(owner: Any, name: str, size: int) -> Any:
    """Return an attribute that is no larger than the file."""
    import h5py

    attribute = h5py.h5a.open(owner.id, name.encode())
    claimed = attribute.get_space().get_simple_extent_npoints() * attribute.get_type().get_size()
    if claimed > size:
        raise _RefusedError(f"{name} has {claimed:,} bytes, more than the file")
    return owner.attrs[name]


def _values(dataset: Any) -> tuple[NDArray[Any], str]:
    """Read one array; Keras' bfloat16 lies there as two opaque bytes a number."""
    if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and not dataset.dtype.names:
        words = np.frombuffer(dataset[()].tobytes(), "<u2").reshape(dataset.shape)
        return from_bfloat16(words), "bfloat16"
    if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
        raise _RefusedError(f"{dataset.name} has dtype {dataset.dtype}, but should be numbers")
    return dataset[()], dataset.dtype.name


def _newer(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path, dataset) of every array below `root`, but for an optimizer's."""
    seen: set[Any] = set()

    def walk(group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        info = _address(group)
        if info in seen or depth > DEEPEST:
            raise _RefusedError("its groups form a cycle, or are nested too deeply")
        seen.add(info)
        for name in group:
            if len(seen) > FEW:
                raise _RefusedError(f"over {FEW:,} groups")
            if prefix == "" and name == "optimizer":
                continue
            child = _child(group, name)
            if hasattr(child, "shape"):
                yield prefix + name, child
            else:
                yield from walk(child, f"{prefix}{name}/", depth + 1)

    return walk(root, "", 0)


def _older(root: Any, size: int) -> Iterator[tuple[str, Any]]:
    """Yield (layer/array, dataset) in the order that the attributes say."""
    for layer in _names(root, "layer_names", size):
        group = _child(root, layer)
        for name in _names(group, "weight_names", size):
            dataset = group
            for part in name.split("/"):
                dataset = _child(dataset, part)
            if not hasattr(dataset, "shape"):
                raise _RefusedError(f"{layer}/{name} is a group, but should be an array")
            yield f"{layer}/{name}", dataset


def _names(group: Any, name: str, size: int) -> list[str]:
    """Return the names in an attribute, which Keras splits when there are too many."""
    if name in group.attrs:
        found = list(_attribute(group, name, size))
    else:
        chunks = list[Any]()
        while f"{name}{len(chunks)}" in group.attrs and len(chunks) < FEW:
            chunks.append(_attribute(group, f"{name}{len(chunks)}", size))
        found = [entry for chunk in chunks for entry in chunk]
    if len(found) > FEW:
        raise _RefusedError(f"{len(found):,} names, but at most {FEW:,} are read")
    return [_text(entry) for entry in found]


def _child(group: Any, name: str) -> Any:
    """Return a member of a group that is really in the group, in this file, uncompressed."""
    import h5py

    if not isinstance(group, h5py.Group) or name not in group:
        raise _RefusedError(f"there is no {name!r} in {getattr(group, 'name', '?')}")
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        raise _RefusedError(f"{name!r} is a link to elsewhere")
    child = group[name]
    if isinstance(child, h5py.Dataset):
        if child.is_virtual or child.external:
            raise _RefusedError(f"{name!r} lies in another file")
        if child.chunks is not None or child.shape is None:
            raise _RefusedError(
                f"{name!r} is chunked and perhaps compressed, which Keras never does"
            )
    elif not isinstance(child, h5py.Group):
        raise _RefusedError(f"{name!r} is a {type(child).__name__}")
    return child


def _address(group: Any) -> Any:
    import h5py

    return h5py.h5o.get_info(group.id).addr


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays under paths like `layers/conv2d/vars/0`, as Keras' `save_weights` does.

    Raises:
        InputError: h5py isn't installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path.name}: writing a Keras file needs h5py ({error}); "
            "pip install 'inception-parity[tensorflow]'"
        ) from error
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = np.ascontiguousarray(array, np.float32)
