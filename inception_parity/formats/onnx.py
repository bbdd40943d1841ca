"""ONNX: the named initialisers of a model's graph, wherever their bytes are.

Read field by field, without the onnx package: nothing in the graph is built or run, and
no more memory is taken than the arrays need.
"""

from __future__ import annotations

import math
from itertools import islice
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import InputError
from . import Content, decoded, require_few, stored
from .wire import BYTES, EMPTY, VARINT, Message, WireError, fields, varint, varints

TITLE = "ONNX"
HEAD = 4096  # bytes that tell a model from other files
FEW_NUMBERS = 4096  # of an array that isn't stored as bytes, but number by number
MOST_DIMENSIONS = 8

# ModelProto, GraphProto and TensorProto, as onnx.proto numbers their fields.
IR_VERSION, PRODUCER, GRAPH, OPSET, METADATA = 1, 2, 7, 8, 14
MODEL_FIELDS = (1, 2, 3, 4, 5, 6, 7, 8, 14, 20, 25, 26)
INITIALIZER, INPUT, SPARSE_INITIALIZER = 5, 11, 15
DIMS, DATA_TYPE, NAME, RAW_DATA, EXTERNAL_DATA, DATA_LOCATION = 1, 2, 8, 9, 13, 14
FLOAT_DATA, INT32_DATA, INT64_DATA, DOUBLE_DATA, UINT64_DATA = NUMBERS = 4, 5, 7, 10, 11

# TensorProto.DataType -> ours
DTYPES = {
    1: "float32", 11: "float64", 10: "float16", 16: "bfloat16",
    2: "uint8", 3: "int8", 4: "uint16", 5: "int16",
    6: "int32", 7: "int64", 9: "bool", 12: "uint32",
    13: "uint64",
}  # fmt: skip

# TensorProto.DataType -> the field that has its numbers, where they aren't raw data
NUMBERED = {
    1: FLOAT_DATA, 11: DOUBLE_DATA, 7: INT64_DATA, 12: UINT64_DATA, 13: UINT64_DATA,
    **dict.fromkeys((2, 3, 4, 5, 6, 9, 10, 16), INT32_DATA),
}  # fmt: skip


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

    Data outside the file is read only from the same folder or one below, never through a
    link. Subgraphs, constants and sparse tensors aren't weights here.
    """
    arrays: dict[str, NDArray[Any]] = {}
    dtypes: dict[str, str] = {}
    model = Message(memoryview(path.read_bytes()))
    graphs = list(islice(model.messages(GRAPH), 2))
    if len(graphs) != 1:
        raise WireError(f"{len(graphs) or 'no'} graphs, but should be one")
    graph = graphs[0]
    if any(graph.messages(SPARSE_INITIALIZER)):
        raise WireError("sparse initialisers, which aren't supported")
    for tensor in graph.messages(INITIALIZER):
        name = tensor.text(NAME)
        if name in arrays:
            raise WireError(f"two initialisers are called {name!r}")
        require_few(len(arrays) + 1, "initialisers")
        arrays[name], dtypes[name] = _array(path, tensor, name)
    about = {"ir_version": model.number(IR_VERSION), "producer": model.text(PRODUCER)}
    metadata: dict[str, Any] = {key: value for key, value in about.items() if value}
    for opset in model.messages(OPSET):
        domain = opset.text(1)
        metadata["opset" + (f" {domain}" if domain else "")] = opset.number(2)
    metadata |= _entries(model, METADATA)
    metadata["inputs"] = [_shape(value) for value in graph.messages(INPUT)]
    return Content("onnx", arrays, dtypes, metadata)


def _entries(message: Message, field: int) -> dict[str, str]:
    """Return the keys and values in a field of a message."""
    return {entry.text(1): entry.text(2) for entry in message.messages(field)}


def _shape(value: Message) -> list[int]:
    """Return the shape that a ValueInfoProto states: of its type, a tensor's, the shape."""
    for step in (2, 1, 2):  # ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape
        value = next(value.messages(step), EMPTY)
    sides = [side.number(1) for side in value.messages(1)]  # 0: free, or with a name alone
    if len(sides) > MOST_DIMENSIONS:
        raise WireError(f"an input with more than {MOST_DIMENSIONS} dimensions")
    return [side if side < 1 << 31 else 0 for side in sides]


def _array(path: Path, tensor: Message, name: str) -> tuple[NDArray[Any], str]:
    """Return a tensor's array, whose size is compared with that of the bytes that are there."""
    kind, dims = tensor.number(DATA_TYPE), tuple(tensor.integers(DIMS, MOST_DIMENSIONS))
    if kind not in DTYPES:
        raise InputError(
            f"{name} has ONNX's data type {kind}, but should have one of "
            f"{', '.join(DTYPES.values())}"
        )
    dtype = DTYPES[kind]
    if any(side < 0 or side >= 1 << 40 for side in dims):
        raise WireError(f"{name}: shape {dims}")
    needed = math.prod(dims) * stored(dtype).itemsize
    lists = [(number, part) for number in NUMBERS for part in tensor.parts(number)]
    if len(lists) < sum(number in NUMBERS for number, *_ in fields(tensor.content)):
        raise WireError(f"{name}: its numbers are stored one by one, not together")
    raw = memoryview(b"")
    if tensor.number(DATA_LOCATION) == 1:
        raw = _external(path, tensor, name, needed)
    elif (found := tensor.last(RAW_DATA)) is not None:
        raw = found
    elif len(lists) == 1:
        raw = _stored_by_number(name, kind, *lists[0], math.prod(dims))
    if len(raw) != needed or len(lists) > 1:
        raise WireError(f"{name}: {len(raw):,} bytes, but shape {dims} of {dtype} has {needed:,}")
    return decoded(raw, dtype, dims).copy(), dtype


def _stored_by_number(
    name: str, kind: int, field: int, packed: memoryview, count: int
) -> memoryview:
    """Return the bytes of numbers that are stored as numbers: floats as they are, others few."""
    if field != NUMBERED[kind]:
        raise WireError(f"{name}: numbers of a different type from the array's")
    if field in (FLOAT_DATA, DOUBLE_DATA):
        return packed
    if count > FEW_NUMBERS or len(packed) > 10 * count:
        raise WireError(
            f"{name}: {count:,} numbers one by one, but at most {FEW_NUMBERS:,} are read "
            "so; write them as raw data (onnx.numpy_helper.from_array does)"
        )
    size = stored(DTYPES[kind]).itemsize
    numbers = varints(packed, count)
    return memoryview(b"".join(n.to_bytes(8, "little", signed=True)[:size] for n in numbers))


def _external(path: Path, tensor: Message, name: str, needed: int) -> memoryview:
    """Return bytes from a file in the model's folder or below, and from nowhere else."""
    entries = _entries(tensor, EXTERNAL_DATA)
    location = entries.get("location", "")
    folder = path.parent.resolve()
    file = folder / location
    if not location or "\0" in location or Path(location).is_absolute():
        raise InputError(
            f"{name}: its data is at {location!r}, but should be in the model's folder"
        )
    if ".." in Path(location).parts or file.resolve() != file:
        raise InputError(
            f"{name}: its data is at {location!r}, outside the model's folder or behind a link; "
            "nothing is read from there"
        )
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", str(needed)))
    except ValueError as error:
        raise WireError(f"{name}: offset or length isn't a number") from error
    if not file.is_file():
        raise InputError(f"{name}: there is no file {location!r}, where its data should be")
    if length != needed or not 0 <= offset <= file.stat().st_size - length:
        raise WireError(
            f"{name}: {length:,} bytes from {offset:,} of {location!r}, but the array has "
            f"{needed:,}, and the file {file.stat().st_size:,}"
        )
    with file.open("rb") as data:
        data.seek(offset)
        return memoryview(data.read(length))
