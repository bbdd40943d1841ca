"""ONNX: the named initialisers of a model's graph, wherever their bytes are.

Read field by field, without the onnx package: nothing in the graph is built or run, and
no more memory is taken than the arrays need.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import FEW, Content, broken, from_bfloat16
from .wire import BYTES, VARINT, WireError, fields, varint, varints

TITLE = "ONNX"
HEAD = 4096  # bytes that tell a model from other files
LARGEST_TEXT = 1 << 22  # bytes of one metadata entry
FEW_NUMBERS = 4096  # of an array that isn't stored as bytes, but number by number
MOST_DIMENSIONS = 8

# ModelProto, GraphProto and TensorProto, as onnx.proto numbers their fields.
IR_VERSION, PRODUCER, GRAPH, OPSET, METADATA = 1, 2, 7, 8, 14
MODEL_FIELDS = (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26)
INITIALIZER, INPUT, SPARSE_INITIALIZER = 5, 11, 15
DIMS, DATA_TYPE, NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 9, 13, 14
FLOAT_DATA, INT32_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA = NUMBERS = 4, 5, 7, 10, 11

# TensorProto.DataType -> NumPy's dtype in the file, and ours
DTYPES = {
    1: ("<f4", "float32"), 11: ("<f8", "float64"), 10: ("<f2", "float16"), 16: ("<u2", "bfloat16"),
    2: ("<u1", "uint8"), 3: ("<i1", "int8"), 4: ("<u2", "uint16"), 5: ("<i2", "int16"),
    6: ("<i4", "int32"), 7: ("<i8", "int64"), 9: ("?", "bool"), 12: ("<u4", "uint32"),
    13: ("<u8", "uint64"),
}  # fmt: skip

# TensorProto.DataType -> the field that has its numbers, where they aren't raw data
NUMBERED = {
    1: FLOAT_DATA, 11: DOUBLE_DATA, 7: INT64_DATA, 12: UINT64_DATA, 13: UINT64_DATA,
    **dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16), INT32_DATA),
}  # fmt: skip


@dataclass
class _Tensor:
    """A tensor as it stands in the file."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    kind: int = 0
    raw: memoryview | None = None
    numbers: list[tuple[int, memoryview]] = field(default_factory=list)  # by field
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False


def recognise(path: Path) -> bool:
    """Return whether it begins as a model does: its version and other fields, then a graph."""
    with path.open("rb") as file:
        start = memoryview(file.read(HEAD))
    position, seen = 0, set()
    try:
        while position < len(start):
            key, position = varint(start, position)
            number, kind = key >> 3, key & 7
            if number not in MODEL_FIELDS or kind not in (VARINT, BYTES):
                return False
            if (number, kind) == (GRAPH, BYTES):
                return True
            seen.add(number)
            value, position = varint(start, position)
            position += value if kind == BYTES else 0
    except WireError:
        return False
    return len(start) == HEAD and IR_VERSION in seen  # a long text is before the graph


def read(path: Path) -> Content:
    """Return the initialisers of the graph; `metadata` is the model's, with its versions.

    `metadata["inputs"]` are the shapes of the graph's inputs, 0 where a side is free.

    Data outside the file is read only from a file beside it or below, never through a
    link. Subgraphs, constants and sparse tensors aren't weights here.
    """
    arrays: dict[str, NDArray[Any]] = {}
    dtypes: dict[str, str] = {}
    metadata: dict[str, Any] = {}
    try:
        for tensor in _tensors(memoryview(path.read_bytes()), metadata):
            if tensor.name in arrays:
                raise WireError(f"two initialisers are called {tensor.name!r}")
            if len(arrays) == FEW:
                raise WireError(f"more than {FEW:,} initialisers")
            arrays[tensor.name], dtypes[tensor.name] = _array(path, tensor)
    except (WireError, UnicodeDecodeError) as error:
        broken(path, TITLE, error)
    return Content("onnx", arrays, dtypes, metadata)


def _tensors(model: memoryview, metadata: dict[str, Any]) -> Iterator[_Tensor]:
    """Yield the graph's initialisers, and fill in the metadata on the way."""
    graphs = []
    for number, kind, value, content in fields(model):
        if number == GRAPH and kind == BYTES:
            graphs.append(content)
        elif number == METADATA and kind == BYTES:
            metadata.update([_entry(content)])
        elif number == PRODUCER and kind == BYTES:
            metadata.setdefault("producer", _text(content))
        elif number == IR_VERSION and kind == VARINT:
            metadata["ir_version"] = value
        elif number == OPSET and kind == BYTES:
            domain, version = _opset(content)
            metadata["opset" + (f" {domain}" if domain else "")] = version
    if len(graphs) != 1:
        raise WireError(f"{len(graphs)} graphs, but should be one")
    metadata["inputs"] = []  # last: no entry of the file's own stands in for it
    for number, kind, _, content in fields(graphs[0]):
        if number == INITIALIZER and kind == BYTES:
            yield _tensor(content)
        elif number == INPUT and kind == BYTES:
            metadata["inputs"].append(_shape(content))
        elif number == SPARSE_INITIALIZER:
            raise WireError("sparse initialisers, which aren't supported")


def _entry(content: memoryview) -> tuple[str, str]:
    """Return a key and its value."""
    found = {number: _text(text) for number, kind, _, text in fields(content) if kind == BYTES}
    return found.get(1, ""), found.get(2, "")


def _opset(content: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, kind, value, text in fields(content):
        if number == 1 and kind == BYTES:
            domain = _text(text)
        elif number == 2 and kind == VARINT:
            version = value
    return domain, version


def _shape(content: memoryview) -> list[int]:
    """Return the shape that a ValueInfoProto states: of its type, a tensor's, the shape."""
    inner = content
    for step in (2, 1, 2):  # ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
        inner = next((c for n, k, _, c in fields(inner) if (n, k) == (step, BYTES)), inner[:0])
    sides = [part for number, kind, _, part in fields(inner) if (number, kind) == (1, BYTES)]
    if len(sides) > MOST_DIMENSIONS:
        raise WireError(f"an input with more than {MOST_DIMENSIONS} dimensions")
    return [_side(part) for part in sides]


def _side(dimension: memoryview) -> int:
    """Return a dimension's size; 0 for one that is free, or has a name alone."""
    found = (value for n, kind, value, _ in fields(dimension) if (n, kind) == (1, VARINT))
    size = next(found, 0)
    return size if size < 1 << 31 else 0


def _text(content: memoryview) -> str:
    if len(content) > LARGEST_TEXT:
        raise WireError(f"a text of {len(content):,} bytes, but at most {LARGEST_TEXT:,} are read")
    return bytes(content).decode()


def _tensor(content: memoryview) -> _Tensor:
    tensor = _Tensor()
    for number, kind, value, inner in fields(content):
        if number == DIMS:
            sides = [value] if kind == VARINT else varints(inner, MOST_DIMENSIONS)
            tensor.dims += sides
            if len(tensor.dims) > MOST_DIMENSIONS:
                raise WireError(f"an array with more than {MOST_DIMENSIONS} dimensions")
        elif number == DATA_TYPE and kind == VARINT:
            tensor.kind = value
        elif number == NAME and kind == BYTES:
            tensor.name = _text(inner)
        elif number == RAW_DATA and kind == BYTES:
            tensor.raw = inner
        elif number == EXTERNAL_DATA and kind == BYTES:
            tensor.external.update([_entry(inner)])
        elif number == DATA_LOCATION and kind == VARINT:
            tensor.is_external = value == 1
        elif number in NUMBERS:
            if kind != BYTES:
                raise WireError(f"{tensor.name}: its numbers are stored one by one, not together")
            tensor.numbers.append((number, inner))
    return tensor


def _array(path: Path, tensor: _Tensor) -> tuple[NDArray[Any], str]:
    """Return a tensor's array, whose size is held against the bytes that are there."""
    name, dims = tensor.name, tuple(tensor.dims)
    if tensor.kind not in DTYPES:
        raise InputError(
            f"{path}: {name} has ONNX's data type {tensor.kind}, but should have one of "
            f"{', '.join(ours for _, ours in DTYPES.values())}"
        )
    native, dtype = DTYPES[tensor.kind]
    if any(side < 0 or side >= 1 << 40 for side in dims):
        raise WireError(f"{name}: shape {dims}")
    needed = math.prod(dims) * np.dtype(native).itemsize
    raw = tensor.raw
    if tensor.is_external:
        raw = _external(path, tensor, needed)
    elif raw is None and len(tensor.numbers) == 1:
        raw = _stored_by_number(tensor, native, math.prod(dims))
    if raw is None:
        raw = memoryview(b"")
    if len(raw) != needed or len(tensor.numbers) > 1:
        raise WireError(f"{name}: {len(raw):,} bytes, but shape {dims} of {dtype} has {needed:,}")
    array = np.frombuffer(raw, native).reshape(dims)
    return (from_bfloat16(array) if dtype == "bfloat16" else array.copy()), dtype


def _stored_by_number(tensor: _Tensor, native: str, count: int) -> memoryview | None:
    """Return the bytes of numbers that are stored as numbers: floats as they are, others few."""
    number, packed = tensor.numbers[0]
    if number != NUMBERED.get(tensor.kind):
        raise WireError(f"{tensor.name}: numbers of a different type from the array's")
    if number in (FLOAT_DATA, DOUBLE_DATA):
        return packed
    if count > FEW_NUMBERS or len(packed) > 10 * count:
        raise WireError(
            f"{tensor.name}: {count:,} numbers one by one, but at most {FEW_NUMBERS:,} are read "
            "so; write them as raw data (onnx.numpy_helper.from_array does)"
        )
    mask = (1 << 8 * np.dtype(native).itemsize) - 1
    unsigned = native if native == "?" else native.replace("i", "u").replace("f", "u")
    values = [value & mask for value in varints(packed, count)]
    return memoryview(np.array(values, unsigned).tobytes())


def _external(path: Path, tensor: _Tensor, needed: int) -> memoryview:
    """Return bytes from a file beside or below the model's, and from nowhere else."""
    where = f"{path}: {tensor.name}"
    location = tensor.external.get("location", "")
    folder = path.parent.resolve()
    file = folder / location
    if not location or "\0" in location or Path(location).is_absolute():
        raise InputError(
            f"{where}: its data is at {location!r}, but should be in the model's folder"
        )
    if ".." in Path(location).parts or file.resolve() != file:
        raise InputError(
            f"{where}: its data is at {location!r}, outside the model's folder or behind a link; "
            "nothing is read from there"
        )
    try:
        offset = int(tensor.external.get("offset", "0"))
        length = int(tensor.external.get("length", str(needed)))
    except ValueError as error:
        raise WireError(f"{tensor.name}: offset or length isn't a number") from error
    if not file.is_file():
        raise InputError(f"{where}: there is no file {location!r}, where its data should be")
    if length != needed or not 0 <= offset <= file.stat().st_size - length:
        raise WireError(
            f"{tensor.name}: {length:,} bytes from {offset:,} of {location!r}, but the array has "
            f"{needed:,}, and the file {file.stat().st_size:,}"
        )
    with file.open("rb") as data:
        data.seek(offset)
        return memoryview(data.read(length))
