"""Files of Keras: `.keras`, `.weights.h5`, and the older `.h5` with or without a model.

All of them are HDF5, the first one inside a zip archive. h5py reads arrays; the
description of the model next to them is read as JSON, never built, since it may name
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
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, needs
from . import FEW, Content, decoded, head, memory_limit, require_few
from .torch import member_names, require_stored

TITLE = "Keras HDF5"

SIGNATURE = b"\x89HDF\r\n\x1a\n"
WEIGHTS = "model.weights.h5"  # in a .keras archive, next to config.json and metadata.json
LARGEST_CONFIG = 1 << 24  # bytes; that of InceptionV3 has 2^18
DEEPEST = 12  # levels of groups
BUFFERS = 12 << 20  # bytes that HDF5 takes whatever the file


def _refuse(why: str) -> NoReturn:
    """Raise InputError: HDF5 allows this, but no Keras file does it."""
    raise InputError(f"{why}; save it again with Keras")


def recognise(path: Path) -> bool:
    """Return whether it is HDF5, or an archive that holds Keras' weights."""
    return head(path, len(SIGNATURE)) == SIGNATURE or WEIGHTS in member_names(path)


def read(path: Path) -> Content:
    """Return all arrays; `metadata` has `config`, the model's, where the file has one.

    Raises:
        InputError: h5py isn't installed, or the file uses what no file of Keras' uses:
            compression, links, other files.
    """
    with needs("a Keras file, which needs h5py to read", "tensorflow"):
        import h5py
    size = path.stat().st_size
    # HDF5 allocates what a string of variable length says of itself, before it looks for it.
    with memory_limit(3 * size + BUFFERS):
        if head(path, 8) != SIGNATURE:
            return _read_archive(path, size)
        with h5py.File(path, "r") as file:
            return _content(file, size)


def _read_archive(path: Path, size: int) -> Content:
    import h5py

    require_stored(path, ".keras")
    with zipfile.ZipFile(path) as archive:
        inner = archive.read(WEIGHTS)
        config, about = _json(archive, "config.json"), _json(archive, "metadata.json")
    with h5py.File(io.BytesIO(inner), "r") as file:
        content = _content(file, size)
    more = {"keras_version": about.get("keras_version"), "config": config}
    return Content("keras", content.arrays, content.dtypes, {**content.metadata, **more})


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    if name not in archive.namelist():
        return {}
    if archive.getinfo(name).file_size > LARGEST_CONFIG:
        _refuse(f"{name} has over {LARGEST_CONFIG:,} bytes")
    return _object(archive.read(name))


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        _refuse(f"the description of its model isn't JSON ({error})")
    return found if isinstance(found, dict) else {}


def _content(file: Any, size: int) -> Content:
    """Read an open file: the newer kind has groups `layers`, the older one `layer_names`."""
    root = _child(file, "model_weights") if "model_weights" in file else file
    older = any(name.startswith("layer_names") for name in root.attrs)
    datasets = dict(_older(root, size) if older else _newer(root))
    require_few(len(datasets), "arrays")
    claimed = sum(dataset.size * dataset.dtype.itemsize for dataset in datasets.values())
    if claimed > size:
        _refuse(f"its arrays have {claimed:,} bytes, more than the file")
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
        _refuse(f"{name} has {claimed:,} bytes, more than the file")
    return owner.attrs[name]


def _values(dataset: Any) -> tuple[NDArray[Any], str]:
    """Read one array; Keras' bfloat16 lies there as two opaque bytes a number."""
    if dataset.dtype.kind == "V" and dataset.dtype.itemsize == 2 and not dataset.dtype.names:
        return decoded(dataset[()].tobytes(), "bfloat16", dataset.shape), "bfloat16"
    if dataset.dtype.kind not in "fiub" or dataset.dtype.itemsize > 8:
        _refuse(f"{dataset.name} has dtype {dataset.dtype}, but should be numbers")
    return dataset[()], dataset.dtype.name


def _newer(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield (path, dataset) of every array below `root`, but for an optimizer's."""
    import h5py

    seen: set[Any] = set()

    def walk(group: Any, prefix: str, depth: int) -> Iterator[tuple[str, Any]]:
        address = h5py.h5o.get_info(group.id).addr
        if address in seen or depth > DEEPEST:
            _refuse("its groups form a cycle, or are nested too deeply")
        seen.add(address)
        for name in group:
            if len(seen) > FEW:
                _refuse(f"over {FEW:,} groups")
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
                _refuse(f"{layer}/{name} is a group, but should be an array")
            yield f"{layer}/{name}", dataset


def _names(group: Any, name: str, size: int) -> list[str]:
    """Return the names in an attribute, which Keras splits when there are too many."""
    if name in group.attrs:
        found = list(_attribute(group, name, size))
    else:
        found, chunk = [], 0
        while (part := f"{name}{chunk}") in group.attrs and chunk < FEW:
            found += list(_attribute(group, part, size))
            chunk += 1
    require_few(len(found), "names")
    return [_text(entry) for entry in found]


def _child(group: Any, name: str) -> Any:
    """Return a member of a group that is really in the group, in this file, uncompressed."""
    import h5py

    if not isinstance(group, h5py.Group) or name not in group:
        _refuse(f"there is no {name!r} in {getattr(group, 'name', '?')}")
    link = group.get(name, getlink=True)
    if not isinstance(link, h5py.HardLink):
        _refuse(f"{name!r} is a link to elsewhere")
    child = group[name]
    if isinstance(child, h5py.Dataset):
        if child.is_virtual or child.external:
            _refuse(f"{name!r} lies in another file")
        if child.chunks is not None or child.shape is None:
            _refuse(f"{name!r} is chunked and perhaps compressed, which Keras never does")
    elif not isinstance(child, h5py.Group):
        _refuse(f"{name!r} is a {type(child).__name__}")
    return child


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays under paths like `layers/conv2d/vars/0`, as Keras' `save_weights` does.

    Raises:
        InputError: h5py isn't installed.
    """
    with needs(f"{path.name}: writing a Keras file needs h5py", "tensorflow"):
        import h5py
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = np.ascontiguousarray(array, np.float32)
